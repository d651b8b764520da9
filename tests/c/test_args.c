#include <stdio.h>
#include <string.h>

#include "args.h"
#include "check.h"

enum { MAX_ARGUMENTS = 4 };

static const struct {
    const char *argv[MAX_ARGUMENTS];
    const char *wrong; /* NULL: must be understood */
} cases[] = {
    {{NULL}, NULL},
    {{"debug"}, NULL},
    {{"try_first_pass", "forward_pass", "debug"}, NULL},
    {{"use_first_pass", "forward_pass"}, NULL},
    {{"socket=/run/x.sock", "timeout=1"}, NULL},
    {{"timeout=60"}, NULL},
    {{"timeout=05"}, NULL},

    {{"debug", "nullok"}, "nullok"},
    {{""}, ""},
    {{"Debug"}, "Debug"},
    {{"debug "}, "debug "},
    {{"debug=1"}, "debug=1"},
    {{"try_first_pass="}, "try_first_pass="},
    {{"debug", "debug"}, "debug"},
    {{"forward_pass", "forward_pass"}, "forward_pass"},
    {{"try_first_pass", "use_first_pass"}, "use_first_pass"},
    {{"use_first_pass", "try_first_pass"}, "try_first_pass"},
    {{"socket"}, "socket"},
    {{"socket="}, "socket="},
    {{"socket=run/x.sock"}, "socket=run/x.sock"},
    {{"socket=/a", "socket=/a"}, "socket=/a"},
    {{"timeout"}, "timeout"},
    {{"timeout="}, "timeout="},
    {{"timeout=0"}, "timeout=0"},
    {{"timeout=00"}, "timeout=00"},
    {{"timeout=61"}, "timeout=61"},
    {{"timeout=-1"}, "timeout=-1"},
    {{"timeout=+1"}, "timeout=+1"},
    {{"timeout= 1"}, "timeout= 1"},
    {{"timeout=1 "}, "timeout=1 "},
    {{"timeout=1s"}, "timeout=1s"},
    {{"timeout=1.5"}, "timeout=1.5"},
    {{"timeout=0x10"}, "timeout=0x10"},
    {{"timeout=4294967297"}, "timeout=4294967297"},
    {{"timeout=18446744073709551617"}, "timeout=18446744073709551617"},
    {{"timeout=5", "timeout=5"}, "timeout=5"},
};

static bool parse(const char *const *arguments, struct args *args, struct args_fault *fault)
{
    const char *argv[MAX_ARGUMENTS];
    int argc = 0;

    while (argc < MAX_ARGUMENTS && arguments[argc] != NULL) {
        argv[argc] = arguments[argc];
        argc++;
    }
    return args_parse(argc, argv, args, fault);
}

static void test_values(void)
{
    const char *const none[MAX_ARGUMENTS] = {NULL};
    const char *const all[MAX_ARGUMENTS] = {"socket=/s", "timeout=7", "use_first_pass", "forward_pass"};
    struct args args;
    struct args_fault fault;

    CHECK(parse(none, &args, &fault) && args.socket_path == NULL && args.timeout_seconds == 10);
    CHECK(!args.try_first_pass && !args.use_first_pass && !args.forward_pass && !args.debug);
    CHECK(parse(all, &args, &fault) && strcmp(args.socket_path, "/s") == 0 && args.timeout_seconds == 7);
    CHECK(!args.try_first_pass && args.use_first_pass && args.forward_pass && !args.debug);
}

static void test_longest_path(void)
{
    char argument[7 + 108 + 1];
    const char *const arguments[MAX_ARGUMENTS] = {argument};
    struct args args;
    struct args_fault fault;

    snprintf(argument, sizeof(argument), "socket=/%0106d", 0);
    CHECK(parse(arguments, &args, &fault));
    snprintf(argument, sizeof(argument), "socket=/%0107d", 0);
    CHECK(!parse(arguments, &args, &fault));
}

void test_args(void)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *name = cases[i].wrong ? cases[i].wrong : cases[i].argv[0];
        struct args args;
        struct args_fault fault = {NULL, NULL};
        bool good = parse(cases[i].argv, &args, &fault);

        CHECK_CASE(name, good == (cases[i].wrong == NULL));
        CHECK_CASE(name, good || (fault.reason != NULL && strcmp(fault.argument, cases[i].wrong) == 0));
    }
    test_values();
    test_longest_path();
}
