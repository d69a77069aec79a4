/* What happens, in order; and what to say when it cannot. */
#include "launcher.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/auxv.h>
#include <sys/stat.h>

static const char MAGIC[] = "DSAVEv1\n";

static char reasons[4096]; /* why each place was refused */

void say(const char *format, ...)
{
    char line[8192] = "dockersave: ";
    size_t start = strlen(line);
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line + start, sizeof line - start - 1, format, arguments);
    va_end(arguments);
    start += length < 0 ? 0 : (size_t)length;
    if (start > sizeof line - 2)
        start = sizeof line - 2;
    line[start++] = '\n';
    if (write(STDERR_FILENO, line, start) < 0)
        return; /* there is nobody left to tell */
}

static void refuse(const char *place, const char *reason)
{
    char refusal[400];
    snprintf(refusal, sizeof refusal, "; %.200s: %s", place, reason);
    size_t used = strlen(reasons);
    if (!strstr(reasons, refusal))
        snprintf(reasons + used, sizeof reasons - used, "%s", refusal);
}

static const char *open_self(struct self *self)
{
    /* /proc knows best; without it, the kernel still tells which path was executed. */
    const char *executed = (const char *)getauxval(AT_EXECFN); // NOLINT
    ssize_t length = readlink("/proc/self/exe", self->path, sizeof self->path - 1);
    if (length > 0)
        self->path[length] = '\0';
    else if (!executed || !realpath(executed, self->path))
        self->path[0] = '\0';
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (fd < 0 && executed)
        fd = open(executed, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return "cannot be read by whoever runs it (chmod a+r)";

    struct stat status;
    void *data = MAP_FAILED;
    if (fstat(fd, &status) == 0 && status.st_size > (off_t)sizeof(struct trailer))
        data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    close(fd);
    if (data == MAP_FAILED)
        return "cannot be mapped into memory";
    self->data = data;
    self->size = (size_t)status.st_size;
    memcpy(&self->trailer, self->data + self->size - sizeof self->trailer, sizeof self->trailer);
    size_t covered = self->size - sizeof self->trailer + offsetof(struct trailer, hash);
    if (memcmp(self->trailer.magic, MAGIC, sizeof self->trailer.magic) != 0 || self->trailer.frames > self->trailer.rest
        || self->trailer.rest >= self->size || checksum(self->data, covered) != self->trailer.hash)
        return "is damaged: copy it anew and compare its checksum";
    return NULL;
}

/* A descriptor from which nothing can be read, and to which nothing can be written. */
static int open_empty(void)
{
    int ends[2];
    if (pipe(ends) < 0)
        return -1;
    close(ends[1]);
    return ends[0];
}

/* A descriptor for writing what nobody reads. */
static int open_for_nobody(void)
{
    int fd = open("/dev/null", O_WRONLY);
    return fd < 0 ? memfd_create("null", 0) : fd;
}

/* What is closed is opened, so that no file of ours or of the program's gets the number of a standard stream; and Python does
 * not start with a directory as standard input. */
static void open_standard_streams(void)
{
    static int opened[STDERR_FILENO + 1]; /* kept, for analysers to see that it is no leak */
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        struct stat status;
        if (fstat(fd, &status) == 0 && !S_ISDIR(status.st_mode))
            continue;
        /* Only standard error may be written in vain: what was asked for on standard output must not vanish. */
        opened[fd] = fd == STDERR_FILENO ? open_for_nobody() : open_empty();
        if (opened[fd] > fd) {
            dup2(opened[fd], fd);
            close(opened[fd]);
        }
    }
}

/* Whether there are as many descriptors as it takes to clean up. */
static bool has_descriptors(void)
{
    int made[DESCRIPTORS], count = 0;
    while (count < DESCRIPTORS && (made[count] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)) >= 0)
        count++;
    for (int i = 0; i < count; i++)
        close(made[i]);
    return count == DESCRIPTORS;
}

/* Whether an error would be the same in every place. */
static bool is_everywhere(int error)
{
    return error == E2BIG || error == EAGAIN || error == ENOMEM || error == EFBIG || error == EMFILE || error == ENFILE;
}

static int fail(int error)
{
    say("cannot start: %s. See what limits there are (ulimit -a).", strerror(error));
    return 1;
}

/* Unpacks the program in the first place that will do, and runs it. Returns the exit code. */
static int start_somewhere(const struct self *self, char **argv, const sigset_t *forwarded, const struct caller *caller)
{
    char own_directory[PATH_MAX], working_directory[PATH_MAX];
    snprintf(own_directory, sizeof own_directory, "%s", self->path);
    char *slash = strrchr(own_directory, '/');
    if (slash)
        slash[slash == own_directory] = '\0';
    const char *wanted = getenv("TMPDIR");
    hide_environment(caller->environment);
    struct place places[] = {
        {.path = wanted && *wanted ? wanted : NULL, .mask = 077},
        {.path = "/tmp", .is_system = true, .mask = 077},
        {.path = "/var/tmp", .is_system = true, .mask = 077},
        {.path = "/dev/shm", .is_system = true, .mask = 077},
        {.path = "/run", .is_system = true, .mask = 077},
        {.path = slash ? own_directory : NULL, .mask = 077},
        {.path = getcwd(working_directory, sizeof working_directory), .mask = 077},
    };
    const int count = sizeof places / sizeof *places;

    /* Where memory is short, every place on a disk; every place as it should be; and then every place with little space, or
     * where nothing can be executed. */
    const char *lacking = lack(START_MEMORY, START_ADDRESSES);
    if (lacking) {
        say("cannot start: %s", lacking);
        return 1;
    }
    for (int attempt = is_memory_short() ? 0 : count; attempt < 3 * count; attempt++) {
        struct place *place = &places[attempt % count];
        place->on_disk = attempt < count;
        bool in_memory = attempt >= 2 * count;
        if (in_memory && access("/proc/self/fd", F_OK) < 0) {
            refuse("in memory", "needs /proc");
            break;
        }
        if (!place->path)
            continue;
        static struct home home;
        const char *problem = make_home(place, in_memory ? self->trailer.written : self->trailer.unpacked, in_memory, &home);
        if (problem) {
            if (!in_memory && !place->on_disk)
                refuse(place->path, problem);
            continue;
        }
        uint64_t to = in_memory ? self->size - sizeof self->trailer : self->trailer.rest;
        int error = unpack(self, &home, self->trailer.frames, to, in_memory ? 1 : INT_MAX);
        int code = error ? -error : run(self, &home, argv, forwarded, caller);
        int left = remove_home(&home);
        if (left)
            say("cannot remove %s: %s", home.path, strerror(left));
        int signal = code < 0 ? pending_signal(forwarded) : 0;
        if (signal)
            return 128 + signal;
        if (code >= 0)
            return code;
        if (is_everywhere(-code))
            return fail(-code);
        refuse(in_memory ? "in memory" : place->path, strerror(-code));
    }
    say("no place to unpack %d MB (%s). Set TMPDIR to a directory that is writable and allows execution.",
        megabytes(self), reasons + strlen("; "));
    return 1;
}

int main(int argc, char **argv, char **environment)
{
    (void)argc;
    static struct self self;
    struct caller caller = {.environment = environment};
    sigset_t forwarded;
    open_standard_streams();
    block_signals(&forwarded, &caller);
    caller.creation_mask = umask(077);
    if (!has_descriptors())
        return fail(errno);
    const char *problem = open_self(&self);
    if (problem) {
        say("%s %s", self.path[0] ? self.path : "this program's file", problem);
        return 1;
    }

    const char *directory = directory_to_install(argv);
    if (directory)
        return install(&self, directory, &forwarded, &caller);
    if (is_installed(&self))
        return start_installed(&self, argv, &caller);
    return start_somewhere(&self, argv, &forwarded, &caller);
}
