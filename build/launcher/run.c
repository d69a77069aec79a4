/* Running the program: its environment, its signals, its end. */
#include "launcher.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define HIDDEN "DOCKERSAVE_HIDDEN_" /* build/frozen.py takes it off again */
#define REST "DOCKERSAVE_REST"      /* the descriptor where it asks for the rest of the files; how many MB all take */

/* The user's environment, less what would lead the packed program's loader or PyInstaller astray. NULL without memory. */
static char **make_environment(const struct self *self, char **environment, const char *program, int rest)
{
    static const char *const hidden[] = {"LD_LIBRARY_PATH=", "LD_PRELOAD=", "LD_AUDIT="};
    static const char *const ours[] = {"_PYI_", HIDDEN, REST "="};
    static char archive[PATH_MAX + 32], descriptor[64];
    size_t count = 0;
    while (environment[count])
        count++;
    char **made = calloc(count + 4, sizeof *made);
    if (!made)
        return NULL;
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        char *variable = environment[i];
        bool is_ours = false, is_hidden = false;
        for (size_t j = 0; j < sizeof ours / sizeof *ours; j++)
            is_ours = is_ours || strncmp(variable, ours[j], strlen(ours[j])) == 0;
        for (size_t j = 0; j < sizeof hidden / sizeof *hidden; j++)
            is_hidden = is_hidden || strncmp(variable, hidden[j], strlen(hidden[j])) == 0;
        if (is_ours || (is_hidden && asprintf(&variable, HIDDEN "%s", environment[i]) < 0))
            continue;
        made[used++] = variable;
    }
    /* Tells PyInstaller's bootloader that the library path is set already, so that it neither changes it nor starts anew. */
    snprintf(archive, sizeof archive, "_PYI_ARCHIVE_FILE=%s", program);
    made[used++] = archive;
    made[used++] = "_PYI_PARENT_PROCESS_LEVEL=-1";
    if (rest >= 0) {
        snprintf(descriptor, sizeof descriptor, REST "=%d %d", rest, megabytes(self));
        made[used] = descriptor;
    }
    return made;
}

static bool has_terminal(void)
{
    int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    bool has = fd >= 0;
    for (int i = STDIN_FILENO; !has && i <= STDERR_FILENO; i++) {
        pid_t session;
        has = ioctl(i, TIOCGSID, &session) == 0 && session == getsid(0);
    }
    return has;
}

/* A child that waits at fd until the program asks for the rest of its files, unpacks them, and answers with an errno. */
static pid_t start_unpacker(const struct self *self, const struct home *home, int fd)
{
    pid_t launcher = getpid();
    pid_t unpacker = fork();
    if (unpacker != 0)
        return unpacker;
    char byte;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != launcher || read(fd, &byte, 1) != 1)
        _exit(0); /* it ended without having asked */
    /* One process: whoever waits for it knows that no other is writing still. */
    byte = (char)unpack(self, home, self->trailer.rest, self->size - sizeof self->trailer, 1);
    _exit(write(fd, &byte, 1) != 1);
}

/* Waits for the child; signals go to it. Returns its wait status. */
static int supervise(pid_t child, pid_t *unpacker, const sigset_t *forwarded, bool terminal)
{
    sigset_t awaited = *forwarded;
    sigaddset(&awaited, SIGCHLD);
    for (;;) {
        int status;
        pid_t ended;
        while ((ended = waitpid(-1, &status, WNOHANG)) > 0) { /* as process 1, there are orphans too */
            if (ended == child)
                return status;
            if (ended == *unpacker)
                *unpacker = -1;
        }
        siginfo_t info;
        int signal = sigwaitinfo(&awaited, &info);
        /* What the kernel sends on behalf of the terminal has reached the program by itself. */
        if (signal > 0 && signal != SIGCHLD && !(terminal && info.si_code == SI_KERNEL))
            kill(child, signal);
    }
}

/* Runs the program. Returns its exit code, or 128 + the signal that ended it, or -errno if it cannot be executed. */
int run(const struct self *self, const struct home *home, char **argv, char **environment, const sigset_t *forwarded,
        const sigset_t *mask)
{
    char program[PATH_MAX], executable[PATH_MAX];
    snprintf(program, sizeof program, "%.*s/" PROGRAM, PLACEHOLDER, home->path);
    snprintf(executable, sizeof executable, "%.*s/%s", PLACEHOLDER, home->path,
             home->in_memory ? PROGRAM_IN_MEMORY : PROGRAM);
    int failure[2], rest[2] = {-1, -1};
    if (pipe2(failure, O_CLOEXEC) < 0)
        return -errno;
    /* Without sockets in the kernel there is no way to ask, and no program that needs the rest either. */
    if (!home->in_memory && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, rest) < 0)
        rest[0] = rest[1] = -1;
    char **child_environment = make_environment(self, environment, program, rest[0]);
    char *no_arguments[] = {program, NULL};
    if (argv[0])
        argv[0] = program;
    else
        argv = no_arguments;

    /* On a terminal, keys signal the whole process group, so the program stays in it and job control works. Elsewhere it
     * has a group of its own, so that a signal for ours arrives once: through us. */
    bool terminal = has_terminal();
    pid_t launcher = getpid();
    pid_t child = child_environment ? fork() : -1;
    if (child < 0) {
        int problem = errno;
        free(child_environment);
        for (int i = 0; i < 2; i++) {
            close(failure[i]);
            if (rest[i] >= 0)
                close(rest[i]);
        }
        return -problem;
    }
    if (child == 0) {
        if (!terminal)
            setpgid(0, 0);
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != launcher)
            _exit(128 + SIGKILL);
        if (rest[0] >= 0)
            fcntl(rest[0], F_SETFD, 0);
        /* An interrupt must not meet Python half started; build/frozen.py unblocks it. */
        sigset_t child_mask = *mask;
        sigaddset(&child_mask, SIGINT);
        sigprocmask(SIG_SETMASK, &child_mask, NULL);
        execve(executable, argv, child_environment);
        int error = errno;
        _exit(write(failure[1], &error, sizeof error) < 0 ? 126 : 127);
    }
    free(child_environment);
    close(failure[1]);
    if (rest[0] >= 0)
        close(rest[0]); /* only the program holds its end, so its end is the end of the unpacker */
    pid_t unpacker = rest[1] >= 0 ? start_unpacker(self, home, rest[1]) : -1;
    if (rest[1] >= 0)
        close(rest[1]);
    int error = 0;
    bool failed = read(failure[0], &error, sizeof error) == sizeof error;
    close(failure[0]);
    sweep(home->parent);

    int status = supervise(child, &unpacker, forwarded, terminal);
    if (unpacker > 0) {
        kill(unpacker, SIGKILL);
        waitpid(unpacker, NULL, 0);
    }
    if (failed)
        return -error;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
