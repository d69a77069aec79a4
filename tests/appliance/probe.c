/* Stands in for the packed program where a test wants to see what the launcher does with it. Linked statically. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* staticx's placeholders: the launcher overwrites them with the interpreter's path and the RPATH. */
#define ROW16(c) c c c c c c c c c c c c c c c c
#define ROW256(c) ROW16(ROW16(c))
__attribute__((used)) static volatile char interpreter[] = ROW256("i");
__attribute__((used)) static volatile char rpath[] = ROW256("r");

static volatile sig_atomic_t count;

static void note(int signal)
{
    (void)signal;
    count++;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "count") == 0)
        signal(atoi(argv[2]), note);
    sigset_t interrupt; /* blocked by the launcher, for build/frozen.py to unblock */
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_UNBLOCK, &interrupt, NULL);
    if (strcmp(what, "exit") == 0)
        return atoi(argv[2]);
    if (strcmp(what, "kill") == 0)
        raise(atoi(argv[2]));
    if (strcmp(what, "count") == 0) { /* how often does SIGNAL arrive within a second of the first? */
        puts("ready");
        fflush(stdout);
        while (!count)
            pause();
        for (int rest = 10; rest > 0; rest--)
            usleep(100000);
        printf("%d\n", (int)count);
        return 0;
    }
    if (strcmp(what, "orphan") == 0) { /* leaves a grandchild to process 1, and tells whether it was reaped */
        int ends[2];
        if (pipe(ends) < 0)
            return 1;
        if (fork() == 0) {
            pid_t grandchild = fork();
            if (grandchild == 0) {
                usleep(200000);
                _exit(0);
            }
            if (write(ends[1], &grandchild, sizeof grandchild) < 0)
                _exit(1);
            _exit(0);
        }
        wait(NULL);
        pid_t orphan;
        if (read(ends[0], &orphan, sizeof orphan) != sizeof orphan)
            return 1;
        usleep(600000);
        puts(kill(orphan, 0) < 0 ? "reaped" : "zombie");
        return 0;
    }
    if (strcmp(what, "umask") == 0) {
        printf("%03o\n", (unsigned)umask(0));
        fflush(stdout);
        sleep(20);
        return 0;
    }
    if (strcmp(what, "sleep") == 0) {
        puts("ready");
        fflush(stdout);
        sleep((unsigned)atoi(argv[2]));
        return 0;
    }
    if (strcmp(what, "arguments") == 0) {
        size_t length = 0;
        for (int i = 2; i < argc; i++)
            length += strlen(argv[i]);
        printf("%d %zu\n", argc - 2, length);
        return 0;
    }
    printf("%s\n%s\n%s\n", argv[0], (const char *)interpreter, (const char *)rpath);
    return 0;
}
