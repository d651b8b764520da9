#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"

static int checked;
static int failed;

bool check_that(bool holds, const char *text, const char *name, const char *file, int line)
{
    checked++;
    if (!holds) {
        failed++;
        fprintf(stderr, "%s:%d: %s%s%s does not hold\n", file, line, name ? name : "", name ? ": " : "",
                text);
    }
    return holds;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s protocol.txt\n", argv[0]);
        return 2;
    }
    /* A module must never raise SIGPIPE: with the default action, one would end this program. */
    signal(SIGPIPE, SIG_DFL);
    test_args();
    test_deadline();
    test_protocol();
    test_vectors(argv[1]);
    test_zmtp();
    test_zmtp_mutations(argv[1]);
    printf("%d checks, %d failed\n", checked, failed);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
