/* Running the program: its environment, its signals, its end. */
#include "launcher.h"

#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* The descriptor where the program asks for the rest of its files. */
#define REST "DOCKERSAVE_REST"
/* In the place of the first letter of variables that would lead the program's loader astray; build/frozen.py puts it back. */
#define HIDDEN '~'

static bool begins(const char *variable, const char *with)
{
    return strncmp(variable, with, strlen(with)) == 0;
}

/* Takes out of the user's environment what would lead the packed program astray. */
void hide_environment(char **environment)
{
    static const char *const astray[] = {"D_LIBRARY_PATH=", "D_PRELOAD=", "D_AUDIT="}; /* behind an L */
    char **kept = environment;
    for (char **variable = environment; *variable; variable++) {
        char *name = *variable;
        bool is_ours = begins(name, "_PYI_") || begins(name, REST "=");
        for (size_t i = 0; i < sizeof astray / sizeof *astray; i++)
            if ((*name == 'L' || *name == HIDDEN) && begins(name + 1, astray[i])) {
                is_ours = *name == HIDDEN;
                *name = HIDDEN;
                break;
            }
        if (!is_ours)
            *kept++ = name;
    }
    *kept = NULL;
}

/* The program's environment. NULL without memory. */
static char **make_environment(char **environment, const char *program, int rest)
{
    static char archive[PATH_MAX + 32], descriptor[64];
    size_t count = 0;
    while (environment[count])
        count++;
    char **made = calloc(count + 6, sizeof *made);
    if (!made)
        return NULL;
    memcpy(made, environment, count * sizeof *made);
    /* Tells PyInstaller's bootloader that the library path is set already, so that it neither changes it nor starts anew. */
    snprintf(archive, sizeof archive, "_PYI_ARCHIVE_FILE=%s", program);
    made[count++] = archive;
    made[count++] = "_PYI_PARENT_PROCESS_LEVEL=-1";
    if (rest >= 0) {
        snprintf(descriptor, sizeof descriptor, REST "=%d", rest);
        made[count++] = descriptor;
    }
    if (is_memory_short()) { /* what the user has set comes before it, and counts */
        made[count++] = "MALLOC_ARENA_MAX=1";
        made[count] = "DOCKERSAVE_JOBS=2";
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

/* Unpacks the rest, in one process: whoever waits for it knows that no other is writing still. Answers at fd with nothing
 * but a NUL, or with an error's two lines. Returns whether that could be said. */
static bool unpack_rest(const struct self *self, struct home *home, int fd)
{
    char answer[PATH_MAX] = "";
    const char *lacking = lack(SAVE_MEMORY + (is_memory(home->fd) ? REST_MEMORY : 0), SAVE_ADDRESSES);
    int error = lacking ? 0 : unpack(self, home, self->trailer.rest, self->size - sizeof self->trailer, 1);
    if (lacking)
        snprintf(answer, sizeof answer, "the program %s\n"
                 "give it more, or set TMPDIR to a directory on a disk", lacking);
    if (error)
        snprintf(answer, sizeof answer, "no place to unpack the rest of the program (%.*s: %s)\n"
                 "make room there, or set TMPDIR to a directory with %d MB",
                 (int)(strrchr(home->path, '/') - home->path), home->path, strerror(error), megabytes(self));
    size_t length = strlen(answer) + 1;
    return write(fd, answer, length) == (ssize_t)length;
}

/* Starts a process that waits at fd until the program asks for the rest of its files. Where there may be no other process,
 * they are unpacked at once while the program stands still, so that it finds no file half written; it has the answer before
 * it asks. */
static pid_t start_unpacker(const struct self *self, struct home *home, int fd, pid_t program)
{
    pid_t launcher = getpid();
    pid_t unpacker = fork();
    if (unpacker > 0)
        return unpacker;
    if (unpacker == 0) {
        uint8_t byte;
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* where a sandbox lets it */
        bool is_asked = getppid() == launcher && read(fd, &byte, 1) == 1;
        _exit(is_asked && !unpack_rest(self, home, fd));
    }
    kill(program, SIGSTOP);
    unpack_rest(self, home, fd);
    kill(program, SIGCONT);
    return unpacker;
}

/* Says what no handler of the program's could: nobody else does. */
static void explain_end(int signal)
{
    switch (signal) {
    case SIGKILL:
        say("the program was killed, most likely because memory ran out: the host's, or the container's");
        break;
    case SIGSYS:
        say("the program was killed by a sandbox (seccomp), which does not allow a system call that it needs");
        break;
    case SIGSEGV: case SIGBUS: case SIGFPE: case SIGILL: case SIGTRAP:
        say("the program crashed (%s): its files are damaged, or this is a bug", strsignal(signal));
        break;
    default:
        break; /* whoever sent it through us knows */
    }
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
        /* What a key or the window's size sends has reached the program by itself; other signals of the kernel's are for
         * the launcher alone, as when the terminal of a session's first process is gone. */
        bool is_known = terminal && info.si_code == SI_KERNEL && (signal == SIGINT || signal == SIGQUIT || signal == SIGWINCH);
        if (signal > 0 && signal != SIGCHLD && !is_known)
            kill(child, signal);
    }
}

static void close_both(const int pair[2])
{
    for (int i = 0; i < 2; i++)
        if (pair[i] >= 0)
            close(pair[i]);
}

/* Runs the program. Returns its exit code, or 128 + the signal that ended it, or -errno if it cannot be executed. */
int run(const struct self *self, struct home *home, char **argv, const sigset_t *forwarded, const struct caller *caller)
{
    char program[PATH_MAX], executable[PATH_MAX];
    snprintf(program, sizeof program, "%s/" PROGRAM, home->path);
    snprintf(executable, sizeof executable, "%s/%s", home->path, home->in_memory ? PROGRAM_IN_MEMORY : PROGRAM);
    int gate[2], failure[2], rest[2] = {-1, -1};
    if (pipe2(gate, O_CLOEXEC) < 0)
        return -errno;
    if (pipe2(failure, O_CLOEXEC) < 0) {
        int error = errno;
        close_both(gate);
        return -error;
    }
    /* Without sockets there is no way to ask for the rest, so it comes at once. */
    if (!home->in_memory && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, rest) < 0) {
        rest[0] = rest[1] = -1;
        int error = unpack(self, home, self->trailer.rest, self->size - sizeof self->trailer, INT_MAX);
        if (error) {
            close_both(gate);
            close_both(failure);
            return -error;
        }
    }
    char **environment = make_environment(caller->environment, program, rest[0]);
    char *no_arguments[] = {program, NULL};
    if (argv[0])
        argv[0] = program;
    else
        argv = no_arguments;

    /* On a terminal, keys signal the whole process group, so the program stays in it and job control works. Elsewhere it
     * has a group of its own, so that a signal for ours arrives once: through us. */
    bool terminal = has_terminal();
    pid_t launcher = getpid();
    int signal = pending_signal(forwarded);
    pid_t child = environment && !signal ? fork() : -1;
    if (child < 0) {
        int code = signal ? 128 + signal : environment ? -errno : -ENOMEM;
        free(environment);
        close_both(gate);
        close_both(failure);
        close_both(rest);
        return code;
    }
    if (child == 0) {
        if (!terminal)
            setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* where a sandbox lets it */
        if (getppid() != launcher)
            _exit(128 + SIGKILL);
        char nothing;
        close(gate[1]);
        while (read(gate[0], &nothing, sizeof nothing) < 0 && errno == EINTR)
            ; /* stopped and continued */
        if (rest[0] >= 0)
            fcntl(rest[0], F_SETFD, 0);
        umask(caller->creation_mask);
        restore_signals(caller);
        execve(executable, argv, environment);
        int error = errno;
        _exit(write(failure[1], &error, sizeof error) < 0 ? 126 : 127);
    }
    free(environment);
    close(failure[1]);
    /* What came before the child did is passed on, whoever sent it, while all of that is blocked there. So a key that reached
     * both is still one signal for the child, and not yet noticed. */
    int passed = 0;
    while ((signal = pending_signal(forwarded))) {
        kill(child, signal);
        passed = signal;
    }
    close_both(gate);
    int error = 0;
    bool failed = read(failure[0], &error, sizeof error) == sizeof error;
    close(failure[0]);
    if (failed) {
        waitpid(child, NULL, 0);
        if (passed)
            kill(launcher, passed); /* main() finds what signals have come */
        close_both(rest);
        return -error;
    }

    if (rest[0] >= 0)
        close(rest[0]); /* only the program holds its end, so its end is the end of the unpacker */
    pid_t unpacker = rest[1] >= 0 ? start_unpacker(self, home, rest[1], child) : -1;
    if (unpacker > 0)
        close(rest[1]);
    int status = supervise(child, &unpacker, forwarded, terminal);
    if (unpacker > 0) {
        kill(unpacker, SIGKILL);
        waitpid(unpacker, NULL, 0);
    }
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    explain_end(WTERMSIG(status));
    return 128 + WTERMSIG(status);
}

/* What is missing, or NULL. Nobody will be there to say why the program was killed. */
static const char *lack_installed(char **argv)
{
    const char *first = argv[0] && argv[1] ? argv[1] : "--help";
    bool is_question = strcmp(first, "--version") == 0 || strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0;
    return lack(is_question ? START_MEMORY : INSTALLED_MEMORY, is_question ? START_ADDRESSES : SAVE_ADDRESSES);
}

/* Becomes the program that is installed beside this launcher. Returns an exit code if it cannot. */
int start_installed(const struct self *self, char **argv, const struct caller *caller)
{
    static char home[PATH_MAX], program[PATH_MAX + sizeof PROGRAM + 1];
    const char *lacking = lack_installed(argv);
    if (lacking) {
        say("cannot start: %s", lacking);
        return 1;
    }
    snprintf(home, sizeof home, "%s", self->path);
    char *slash = strrchr(home, '/');
    if (slash)
        *slash = '\0';
    snprintf(program, sizeof program, "%s/" PROGRAM, home);
    char *no_arguments[] = {program, NULL};
    umask(caller->creation_mask);
    /* What is locked is not removed by an update. The program inherits the lock; helpers that it starts do not. */
    int fd = open(home, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < 100 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK; i++)
        usleep(10000); /* somebody may be removing it */
    const char *executed = (const char *)getauxval(AT_EXECFN); // NOLINT
    char *now = access(program, F_OK) < 0 && executed ? realpath(executed, NULL) : NULL;
    if (now && strcmp(now, self->path) != 0) { /* it was updated just now: another launcher is the command */
        restore_signals(caller);
        execve(now, argv, caller->environment);
    }
    free(now);
    hide_environment(caller->environment);
    char **environment = make_environment(caller->environment, program, -1);
    int error = ENOMEM;
    if (environment) {
        if (argv[0])
            argv[0] = program;
        restore_signals(caller);
        execve(program, argv[0] ? argv : no_arguments, environment);
        error = errno;
        free(environment);
    }
    say("cannot start %s: %s. Install it again, with dockersave-static --install.", program, strerror(error));
    return 1;
}
