/* A wall clock that can be set while the process runs. Loaded before the C library (LD_PRELOAD), it adds to what the system
   says as many seconds as stand in the file that CHAOS_CLOCK_FILE names: eight bytes, as the machine has them. What counts time
   alone (CLOCK_MONOTONIC) stays as it is. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *wrong_by;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CHAOS_CLOCK_FILE");
    if (path == NULL) return;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) wrong_by = mapped;
    close(file);
}

static int read_clock(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    int is_wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
    if (result == 0 && is_wall && wrong_by != NULL) now->tv_sec += (time_t)*wrong_by;
    return result;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    return read_clock(clock, now);
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    int result = read_clock(CLOCK_REALTIME, &precise);
    if (result == 0) {
        now->tv_sec = precise.tv_sec;
        now->tv_usec = precise.tv_nsec / 1000;
    }
    return result;
}

time_t time(time_t *seconds) {
    struct timespec precise;
    if (read_clock(CLOCK_REALTIME, &precise) != 0) return -1;
    if (seconds != NULL) *seconds = precise.tv_sec;
    return precise.tv_sec;
}
