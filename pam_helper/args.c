#include "args.h"

#include <stddef.h>
#include <string.h>
#include <sys/un.h>

/* The parsers return what is wrong, or NULL. */

static const char *parse_socket(struct args *args, const char *value)
{
    if (args->socket_path != NULL)
        return "given twice";
    if (value[0] != '/')
        return "not an absolute path";
    if (strlen(value) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return "longer than a socket's path may be";
    args->socket_path = value;
    return NULL;
}

static const char *parse_timeout(struct args *args, const char *value)
{
    int seconds = 0;

    if (args->timeout_seconds != 0)
        return "given twice";
    /* Digits only: strtol would let blanks and signs through. */
    for (const char *at = value; *at != '\0'; at++) {
        if (*at < '0' || *at > '9')
            return "not a whole number of seconds";
        seconds = seconds * 10 + (*at - '0');
        if (seconds > ARGS_MAX_TIMEOUT_SECONDS)
            return "more than 60 seconds";
    }
    if (seconds == 0)
        return "less than 1 second";
    args->timeout_seconds = seconds;
    return NULL;
}

static const char *set_once(bool *flag)
{
    if (*flag)
        return "given twice";
    *flag = true;
    return NULL;
}

/* The value, if the argument is the named one (which ends in '='). */
static const char *value_of(const char *argument, const char *name)
{
    size_t length = strlen(name);

    return strncmp(argument, name, length) == 0 ? argument + length : NULL;
}

static const char *parse_one(struct args *args, const char *argument)
{
    const char *value;

    if ((value = value_of(argument, "socket=")) != NULL)
        return parse_socket(args, value);
    if ((value = value_of(argument, "timeout=")) != NULL)
        return parse_timeout(args, value);
    if (strcmp(argument, "try_first_pass") == 0)
        return args->use_first_pass ? "contradicts use_first_pass" : set_once(&args->try_first_pass);
    if (strcmp(argument, "use_first_pass") == 0)
        return args->try_first_pass ? "contradicts try_first_pass" : set_once(&args->use_first_pass);
    if (strcmp(argument, "forward_pass") == 0)
        return set_once(&args->forward_pass);
    if (strcmp(argument, "debug") == 0)
        return set_once(&args->debug);
    return "unknown argument";
}

bool args_parse(int argc, const char **argv, struct args *args, struct args_fault *fault)
{
    *args = (struct args){0};
    for (int i = 0; i < argc; i++) {
        const char *reason = parse_one(args, argv[i]);

        if (reason != NULL) {
            *fault = (struct args_fault){.argument = argv[i], .reason = reason};
            return false;
        }
    }
    if (args->timeout_seconds == 0)
        args->timeout_seconds = ARGS_DEFAULT_TIMEOUT_SECONDS;
    return true;
}
