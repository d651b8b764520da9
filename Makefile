# otpd. `make help` says what can be made.
PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
BINDIR     ?= $(PREFIX)/bin
SBINDIR    ?= $(PREFIX)/sbin
PYTHONDIR  ?= $(PREFIX)/lib/otpd
UNITDIR    ?= $(PREFIX)/lib/systemd/system
MANDIR     ?= $(PREFIX)/share/man
DOCDIR     ?= $(PREFIX)/share/doc/otpd
# Where bash, zsh and fish look for what completes a command's words.
ZSH        := zsh/$(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)
COMPLETION := bash-completion/completions/otpctl $(ZSH)/_otpctl fish/vendor_completions.d/otpctl.fish
# libpam looks for modules here and nowhere else, whatever PREFIX is.
PAMDIR     ?= /usr/lib/$(shell $(CC) -print-multiarch)/security
PYTHON     ?= /usr/bin/python3
UNITS      := $(wildcard systemd/*.service systemd/*.socket systemd/*.target)
# Where the systemd that will read the units is older than 254, it does not get what it does not know.
SYSTEMD    ?= $(shell systemctl --version 2>/dev/null | sed -n 's/^systemd \([0-9]*\).*/\1/p')
UNITS_LACK := $(if $(filter 252 253,$(SYSTEMD)),/^RestartMode=/d)
CHECK      := tests/check
CATALOGUES := $(patsubst %.po,%/LC_MESSAGES/otpd.mo,$(wildcard otpd/locale/*.po))

.DEFAULT_GOAL := help
.PHONY: help demo check test lint fmt texts build install uninstall clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(MAKEFILE_LIST) | expand -t 20

demo: ## see it work: a directory, otpd and sshd on a throw-away copy of this machine (root; KEEP=1 leaves it running)
	@tests/demo/run $(if $(KEEP),--keep)

check: ## the fast loop: lint and what needs no root, under a minute
	@$(CHECK)

test: ## everything, on real parts (root)
	@tests/run

lint: ## ruff, mypy, and the C compiler's warnings
	@$(CHECK) lint

fmt: ## format Python and C
	@$(CHECK) fmt

build: $(CATALOGUES) ## the PAM module, and the translations
	$(MAKE) -C pam_helper

otpd/locale/%/LC_MESSAGES/otpd.mo: otpd/locale/%.po
	@mkdir -p $(@D)
	msgfmt -o $@ $<

texts: ## bring the translations in otpd/locale up to date with the code (LANGUAGE=fr begins one)
	@$(CHECK) texts $(LANGUAGE)

install: build ## install below DESTDIR (PREFIX=/usr/local)
	install -D -m 0644 pam_helper/pam_otpd.so $(DESTDIR)$(PAMDIR)/pam_otpd.so
	rm -rf $(DESTDIR)$(PYTHONDIR)/otpd
	set -e; find otpd -name '*.py' -o -name '*.mo' | while read -r file; do \
	  install -D -m 0644 "$$file" "$(DESTDIR)$(PYTHONDIR)/$$file"; done
	$(PYTHON) -m compileall -q -d $(PYTHONDIR)/otpd $(DESTDIR)$(PYTHONDIR)/otpd
	set -e; launcher() { install -d "$(DESTDIR)$$1"; \
	  printf '#!%s -I\nimport sys\n\nsys.path.insert(0, "%s")\nfrom %s import main\n\nmain()\n' \
	    "$(PYTHON)" "$(PYTHONDIR)" "$$3" > "$(DESTDIR)$$1/$$2"; chmod 0755 "$(DESTDIR)$$1/$$2"; }; \
	  launcher $(SBINDIR) otpd otpd.daemon; \
	  launcher $(SBINDIR) otpd-password otpd.password_helper; \
	  launcher $(BINDIR) otpctl otpd.cli.main
	install -d $(DESTDIR)$(UNITDIR)
	set -e; for unit in $(UNITS); do \
	  sed -e 's,/usr/sbin/otpd,$(SBINDIR)/otpd,' -e '$(UNITS_LACK)' "$$unit" > "$(DESTDIR)$(UNITDIR)/$${unit##*/}"; done
	sed -f systemd/otpd-control.sed $(DESTDIR)$(UNITDIR)/otpd.service > $(DESTDIR)$(UNITDIR)/otpd-control.service
	install -D -m 0644 systemd/otpd.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/otpd.conf
	install -D -m 0644 systemd/otpd.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/otpd.conf
	install -D -m 0644 -t $(DESTDIR)$(SYSCONFDIR)/otpd/schema conf/*.ldif conf/*.schema
	# What an administrator may have changed is left alone.
	set -e; keep() { test -e "$(DESTDIR)$$2" || install -D -m 0644 "$$1" "$(DESTDIR)$$2"; }; \
	  keep conf/otpd.toml $(SYSCONFDIR)/otpd/otpd.toml; \
	  keep conf/pam.d/otpd-password $(SYSCONFDIR)/pam.d/otpd-password
	install -D -m 0644 -t $(DESTDIR)$(DOCDIR)/examples conf/otpd.toml conf/pam.d/*.example conf/sshd_config.d/otpd.conf \
	  conf/directory/*.example
	set -e; for place in $(COMPLETION); do \
	  install -D -m 0644 "conf/completion/$${place##*/}" "$(DESTDIR)$(PREFIX)/share/$$place"; done
	set -e; for page in docs/man/*.[1-8]; do \
	  install -D -m 0644 "$$page" "$(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/}"; done

uninstall: ## remove what install put there; /etc/otpd and the directory's data stay
	rm -f $(DESTDIR)$(PAMDIR)/pam_otpd.so $(DESTDIR)$(SBINDIR)/otpd $(DESTDIR)$(SBINDIR)/otpd-password
	rm -f $(DESTDIR)$(BINDIR)/otpctl $(addprefix $(DESTDIR)$(UNITDIR)/,$(notdir $(UNITS)) otpd-control.service)
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/share/,$(COMPLETION))
	rm -f $(DESTDIR)$(PREFIX)/lib/sysusers.d/otpd.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/otpd.conf
	rm -rf $(DESTDIR)$(PYTHONDIR) $(DESTDIR)$(DOCDIR)
	set -e; for page in docs/man/*.[1-8]; do rm -f "$(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/}"; done
	# What an administrator has changed is left alone.
	! cmp -s conf/pam.d/otpd-password $(DESTDIR)$(SYSCONFDIR)/pam.d/otpd-password || \
	  rm -f $(DESTDIR)$(SYSCONFDIR)/pam.d/otpd-password

clean: ## remove what was built
	$(MAKE) -C pam_helper clean
	rm -rf otpd/locale/*/
	find . -name __pycache__ -prune -exec rm -rf {} +
