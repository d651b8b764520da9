/* An application that authenticates through libpam, for the tests in tests/module.
 *
 *   pam_driver [options] CONFDIR SERVICE USER
 *
 *   -r RHOST -t TTY -u RUSER   items to set
 *   -s                         PAM_SILENT
 *   -N                         a user that libpam has to ask for: USER is not set
 *   -a COUNT                   so many attempts on one handle, as sudo makes them; 0: pam_setcred() alone
 *   -n COUNT -A TEXT           so many logins, one after the other, each prompt answered with TEXT; only a
 *                              summary is printed
 *   -m                         after the login, tell how often TEXT is found in the memory of the process; so
 *                              TEXT is given backwards
 *
 * Prompts are answered from standard input, a line for each prompt: "text TEXT", "repeat BYTE COUNT", "null"
 * (no response), "none" (no array of responses), "fail" (PAM_CONV_ERR) and "again" (PAM_CONV_AGAIN). What
 * happens is written to standard output, a line of JSON for each event. syslog() is replaced: what a module
 * logs is an event too. */
#include <dirent.h>
#include <err.h>
#include <malloc.h>
#include <security/pam_appl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LINE_BYTES = 4096, MAX_LOG_BYTES = 16384, WARM_UP_LOGINS = 100 };

struct options {
    const char *confdir, *service, *user;
    const char *rhost, *tty, *ruser;
    const char *always;
    bool ask_for_user;
    bool search_memory;
    int flags;
    int attempts;
    int logins;
};

static bool quiet;

/* ---- output ---- */

static void print_string(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else if ((unsigned char)*text < ' ')
            printf("\\u%04x", (unsigned int)(unsigned char)*text);
        else
            putchar(*text);
    }
    putchar('"');
}

static void print_log(int priority, const char *format, va_list arguments)
{
    char text[MAX_LOG_BYTES];

    if (quiet)
        return;
    vsnprintf(text, sizeof(text), format, arguments);
    printf("{\"event\": \"log\", \"priority\": %d, \"text\": ", priority & LOG_PRIMASK);
    print_string(text);
    puts("}");
    fflush(stdout);
}

/* The program's own definitions come before libc's, for libpam too (the linker is told to export them). */
void syslog(int priority, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    print_log(priority, format, arguments);
    va_end(arguments);
}

void vsyslog(int priority, const char *format, va_list arguments)
{
    print_log(priority, format, arguments);
}

void __syslog_chk(int priority, int level, const char *format, ...);
void __syslog_chk(int priority, int level, const char *format, ...)
{
    va_list arguments;

    (void)level;
    va_start(arguments, format);
    print_log(priority, format, arguments);
    va_end(arguments);
}

void __vsyslog_chk(int priority, int level, const char *format, va_list arguments);
void __vsyslog_chk(int priority, int level, const char *format, va_list arguments)
{
    (void)level;
    print_log(priority, format, arguments);
}

static const char *style_name(int style)
{
    switch (style) {
    case PAM_PROMPT_ECHO_OFF:
        return "echo-off";
    case PAM_PROMPT_ECHO_ON:
        return "echo-on";
    case PAM_TEXT_INFO:
        return "info";
    case PAM_ERROR_MSG:
        return "error";
    default:
        return "unknown";
    }
}

static void print_messages(int count, const struct pam_message **messages)
{
    if (quiet)
        return;
    printf("{\"event\": \"conversation\", \"messages\": [");
    for (int i = 0; i < count; i++) {
        printf("%s{\"style\": \"%s\", \"text\": ", i > 0 ? ", " : "", style_name(messages[i]->msg_style));
        print_string(messages[i]->msg);
        putchar('}');
    }
    puts("]}");
    fflush(stdout);
}

/* ---- conversation ---- */

static void *must(void *memory)
{
    if (memory == NULL)
        err(2, "malloc");
    return memory;
}

static char *repeat(const char *what)
{
    char byte;
    size_t count;
    char *text;

    if (sscanf(what, "%c %zu", &byte, &count) != 2)
        errx(2, "what is to be repeated: %s", what);
    text = must(malloc(count + 1));
    memset(text, byte, count);
    text[count] = '\0';
    return text;
}

static char *reverse(const char *text)
{
    size_t length = strlen(text);
    char *reversed = must(calloc(length + 1, 1));

    for (size_t i = 0; i < length; i++)
        reversed[i] = text[length - 1 - i];
    return reversed;
}

/* PAM_SUCCESS, with the text or NULL in *text; or what the conversation is to fail with. */
static int next_answer(const struct options *options, char **text, bool *no_array)
{
    char line[MAX_LINE_BYTES];

    if (options->always != NULL) {
        *text = options->search_memory ? reverse(options->always) : must(strdup(options->always));
        return PAM_SUCCESS;
    }
    if (fgets(line, sizeof(line), stdin) == NULL)
        return PAM_CONV_ERR;
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, "text ", 5) == 0)
        *text = must(strdup(line + 5));
    else if (strncmp(line, "repeat ", 7) == 0)
        *text = repeat(line + 7);
    else if (strcmp(line, "again") == 0)
        return PAM_CONV_AGAIN;
    else if (strcmp(line, "fail") == 0)
        return PAM_CONV_ERR;
    else if (strcmp(line, "none") == 0)
        *no_array = true;
    else if (strcmp(line, "null") != 0)
        errx(2, "an unknown answer: %s", line);
    return PAM_SUCCESS;
}

static void free_responses(int count, struct pam_response *responses)
{
    for (int i = 0; i < count; i++)
        free(responses[i].resp);
    free(responses);
}

static int converse(int count, const struct pam_message **messages, struct pam_response **responses,
                    void *data)
{
    const struct options *options = data;
    struct pam_response *made = must(calloc((size_t)count, sizeof(*made)));
    bool no_array = false;
    int code = PAM_SUCCESS;

    print_messages(count, messages);
    for (int i = 0; i < count && code == PAM_SUCCESS; i++) {
        if (messages[i]->msg_style == PAM_PROMPT_ECHO_OFF || messages[i]->msg_style == PAM_PROMPT_ECHO_ON)
            code = next_answer(options, &made[i].resp, &no_array);
        else
            made[i].resp = must(strdup("")); /* as some applications do */
    }
    if (code == PAM_SUCCESS && !no_array) {
        *responses = made;
        return PAM_SUCCESS;
    }
    free_responses(count, made);
    /* What a careless application leaves behind: nobody should touch it after a failure. (libpam itself does,
     * when it asks for the user.) */
    *responses = no_array || options->ask_for_user ? NULL : made;
    return code;
}

/* ---- logins ---- */

static double microseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void set_item(pam_handle_t *pamh, int item, const char *value)
{
    if (value != NULL && pam_set_item(pamh, item, value) != PAM_SUCCESS)
        errx(2, "pam_set_item(%d)", item);
}

static pam_handle_t *start(struct options *options, const struct pam_conv *conversation)
{
    pam_handle_t *pamh = NULL;
    const char *user = options->ask_for_user ? NULL : options->user;

    if (pam_start_confdir(options->service, user, conversation, options->confdir, &pamh) != PAM_SUCCESS)
        errx(2, "pam_start_confdir");
    set_item(pamh, PAM_RHOST, options->rhost);
    set_item(pamh, PAM_TTY, options->tty);
    set_item(pamh, PAM_RUSER, options->ruser);
    return pamh;
}

static void print_result(const char *event, int code, double start_us)
{
    printf("{\"event\": \"%s\", \"code\": %d, \"milliseconds\": %.1f}\n", event, code,
           (microseconds() - start_us) / 1e3);
    fflush(stdout);
}

static void log_in(struct options *options)
{
    struct pam_conv conversation = {converse, options};
    pam_handle_t *pamh = start(options, &conversation);
    double start_us;
    int code = PAM_SUCCESS;

    for (int i = 0; i < options->attempts; i++) {
        start_us = microseconds();
        code = pam_authenticate(pamh, options->flags);
        print_result("authenticate", code, start_us);
    }
    start_us = microseconds();
    print_result("setcred", pam_setcred(pamh, PAM_ESTABLISH_CRED), start_us);
    pam_end(pamh, code);
}

/* How often the text whose reverse is given stands between two addresses. The end of it is enough: free()
 * writes over the beginning of what it gets. */
static int count_reversed(const char *from, const char *to, const char *reversed)
{
    size_t length = strlen(reversed) / 2;
    int count = 0;

    for (const char *at = from + length; at < to; at++) {
        size_t same = 0;

        while (same < length && *(at - same) == reversed[same])
            same++;
        count += same == length;
    }
    return count;
}

static int search_memory(const char *reversed)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[MAX_LINE_BYTES];
    int count = 0;

    if (maps == NULL)
        err(2, "/proc/self/maps");
    while (fgets(line, sizeof(line), maps) != NULL) {
        void *from;
        void *to;
        char access[5];

        if (sscanf(line, "%p-%p %4s", &from, &to, access) == 3 && access[0] == 'r' && access[1] == 'w')
            count += count_reversed(from, to, reversed);
    }
    fclose(maps);
    return count;
}

static int count_fds(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;

    if (directory == NULL)
        err(2, "/proc/self/fd");
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

static long resident_kib(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    long pages = 0;

    if (file == NULL || fscanf(file, "%*s %ld", &pages) != 1)
        err(2, "/proc/self/statm");
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int by_size(const void *left, const void *right)
{
    double difference = *(const double *)left - *(const double *)right;

    return difference < 0 ? -1 : difference > 0 ? 1 : 0;
}

/* Many logins in one process, as a mail server's worker makes them: what they cost, and what they leave. */
static void log_in_often(struct options *options)
{
    struct pam_conv conversation = {converse, options};
    double *elapsed_us = must(calloc((size_t)options->logins, sizeof(*elapsed_us)));
    int succeeded = 0;
    int fds = 0;
    long resident = 0;
    size_t heap = 0;

    quiet = true;
    for (int i = 0; i < options->logins; i++) {
        pam_handle_t *pamh;
        double start_us;
        int code;

        if (i == WARM_UP_LOGINS) {
            fds = count_fds();
            resident = resident_kib();
            heap = mallinfo2().uordblks;
        }
        pamh = start(options, &conversation);
        start_us = microseconds();
        code = pam_authenticate(pamh, options->flags);
        elapsed_us[i] = microseconds() - start_us;
        succeeded += code == PAM_SUCCESS;
        pam_end(pamh, code);
    }
    printf("{\"event\": \"summary\", \"succeeded\": %d, \"fds_gained\": %d, \"resident_kib_gained\": %ld, "
           "\"heap_bytes_gained\": %ld, ",
           succeeded, count_fds() - fds, resident_kib() - resident, (long)(mallinfo2().uordblks - heap));
    qsort(elapsed_us, (size_t)options->logins, sizeof(*elapsed_us), by_size);
    printf("\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}\n", elapsed_us[options->logins / 2],
           elapsed_us[options->logins * 99 / 100], elapsed_us[options->logins - 1]);
    free(elapsed_us);
}

static void parse_options(int argc, char **argv, struct options *options)
{
    int option;

    while ((option = getopt(argc, argv, "r:t:u:sNma:n:A:")) != -1) {
        switch (option) {
        case 'r':
            options->rhost = optarg;
            break;
        case 't':
            options->tty = optarg;
            break;
        case 'u':
            options->ruser = optarg;
            break;
        case 's':
            options->flags |= (int)PAM_SILENT;
            break;
        case 'N':
            options->ask_for_user = true;
            break;
        case 'm':
            options->search_memory = true;
            break;
        case 'a':
            options->attempts = atoi(optarg);
            break;
        case 'n':
            options->logins = atoi(optarg);
            break;
        case 'A':
            options->always = optarg;
            break;
        default:
            exit(2);
        }
    }
    if (argc - optind != 3)
        errx(2, "usage: pam_driver [options] CONFDIR SERVICE USER");
    options->confdir = argv[optind];
    options->service = argv[optind + 1];
    options->user = argv[optind + 2];
}

int main(int argc, char **argv)
{
    struct options options = {.attempts = 1};

    parse_options(argc, argv, &options);
    if (options.logins > 0)
        log_in_often(&options);
    else
        log_in(&options);
    if (options.search_memory)
        printf("{\"event\": \"memory\", \"found\": %d}\n", search_memory(options.always));
    return 0;
}
