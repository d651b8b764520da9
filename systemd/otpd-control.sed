# otpd-control.service is otpd.service but for this: its socket, that it goes where otpd.service goes, and that it is
# wanted by otpd.service and by its socket alone.
1,2d
s/^Description=.*/Description=otpd: answers otpctl/
s/--serve auth/--serve control/
s/otpd-closed@auth/otpd-closed@control/
s/otpd-auth\.socket/otpd-control.socket/
s/^Wants=.*/Wants=otpd-password.socket\nPartOf=otpd.service/
/^\[Install\]/,$d
