#include "check.h"
#include "deadline.h"

void test_deadline(void)
{
    deadline_t soon = deadline_after(40);

    CHECK(deadline_left(soon) > 0 && deadline_left(soon) <= 40);
    CHECK(deadline_left(deadline_after(0)) == 0);
    CHECK(deadline_left(deadline_after(-1000)) == 0);
    CHECK(deadline_pause(soon, 5));
    CHECK(!deadline_pause(soon, 5000));
    CHECK(deadline_left(soon) == 0);
}
