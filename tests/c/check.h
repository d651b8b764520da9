/* A test harness in one page: a test is a function that CHECKs, and the binary's exit status tells. */
#ifndef OTPD_CHECK_H
#define OTPD_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#define CHECK(condition) check_that((condition), #condition, NULL, __FILE__, __LINE__)
/* As CHECK, with the name of the case that is being tested. */
#define CHECK_CASE(name, condition) check_that((condition), #condition, (name), __FILE__, __LINE__)

bool check_that(bool holds, const char *text, const char *name, const char *file, int line);

void test_args(void);
void test_deadline(void);
void test_protocol(void);
void test_vectors(const char *path);
void test_zmtp(void);
void test_zmtp_mutations(const char *path);

#endif
