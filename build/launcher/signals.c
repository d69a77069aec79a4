/* Signals are blocked for as long as the launcher runs, and looked at where it suits. */
#include "launcher.h"

#define BITS (8 * sizeof(long)) /* in a word of a set of signals */

/* Whether a signal is for the program, and ends it if it does not expect it. */
static bool is_wanted(int signal)
{
    switch (signal) {
    case SIGCHLD: /* for the launcher */
    case SIGTSTP: case SIGTTIN: case SIGTTOU: case SIGCONT: /* stop and continue the launcher, too */
    case SIGSEGV: case SIGBUS: case SIGFPE: case SIGILL: case SIGTRAP: case SIGSYS: /* a fault of the launcher's */
    case SIGPIPE: case SIGXFSZ: /* said by an errno */
        return false;
    default:
        return true;
    }
}

void block_signals(sigset_t *forwarded, struct caller *caller)
{
    sigemptyset(forwarded);
    for (int signal = 1; signal < _NSIG; signal++) {
        struct sigaction action;
        /* What our caller has us ignore (nohup) is ignored by the program too, and no reason to stop. */
        if (is_wanted(signal) && sigaction(signal, NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(forwarded, signal);
    }
    /* SIGRTMIN of whoever uses glibc; musl does not let it be added */
    ((unsigned long *)forwarded)[33 / BITS] |= 1UL << 33 % BITS;
    sigset_t blocked = *forwarded;
    sigaddset(&blocked, SIGCHLD);
    sigprocmask(SIG_BLOCK, &blocked, &caller->mask);
    const struct sigaction standard = {.sa_handler = SIG_DFL}, ignored = {.sa_handler = SIG_IGN};
    sigaction(SIGCHLD, &standard, NULL); /* were it ignored, there would be no exit code */
    sigaction(SIGPIPE, &ignored, &caller->pipe);
    sigaction(SIGXFSZ, &ignored, &caller->file_size);
}

/* In the child that becomes the program. An interrupt must not meet Python half started; build/frozen.py unblocks it. */
void restore_signals(const struct caller *caller)
{
    sigset_t mask = caller->mask;
    sigaddset(&mask, SIGINT);
    sigaction(SIGPIPE, &caller->pipe, NULL);
    sigaction(SIGXFSZ, &caller->file_size, NULL);
    sigprocmask(SIG_SETMASK, &mask, NULL);
}

/* Takes a signal that has come and would end the program, or 0. */
int pending_signal(const sigset_t *forwarded)
{
    sigset_t fatal = *forwarded;
    sigdelset(&fatal, SIGWINCH);
    sigdelset(&fatal, SIGURG);
    const struct timespec now = {0, 0};
    int signal = sigtimedwait(&fatal, NULL, &now);
    return signal > 0 ? signal : 0;
}
