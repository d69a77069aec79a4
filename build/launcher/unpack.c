/* Unpacking: several processes decode zstd frames and write the files that are in them. */
#include "launcher.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include <zstd.h>
#include <zstd_errors.h>

#define CHUNK (128 * 1024) /* bytes */
#define MAX_PROCESSES 4

/* GNU tar manual, "Basic Tar Format". Numbers are octal digits, with a NUL behind them. */
struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, linkname[100], magic[8];
    char uname[32], gname[32], major[8], minor[8], atime[12], ctime[12], offset[12], longnames[4], unused;
    struct {
        char position[12], size[12];
    } parts[4]; /* of a sparse file: what is not a hole */
    char is_extended, real_size[12], padding[17];
};

struct shared { /* between the processes that unpack */
    int next;   /* frame */
    int error;  /* errno of a failure */
};

/* A frame while it is read. What it unpacks to is never whole in memory: less to fault in, and it stays in the caches. */
struct stream {
    ZSTD_DStream *decoder;
    ZSTD_inBuffer input;
    uint8_t chunk[CHUNK];
    size_t position, end;
};

/* Up to size of the next bytes; 0 when there are none, with an errno for whoever still expects some. */
static size_t take(struct stream *stream, size_t size, uint8_t **data)
{
    while (stream->position == stream->end) {
        ZSTD_outBuffer output = {stream->chunk, CHUNK, 0};
        size_t left = ZSTD_decompressStream(stream->decoder, &output, &stream->input);
        if (ZSTD_isError(left) || output.pos == 0) {
            errno = ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation ? ENOMEM : EBADMSG;
            return 0;
        }
        stream->position = 0;
        stream->end = output.pos;
    }
    size_t available = stream->end - stream->position;
    if (size > available)
        size = available;
    *data = stream->chunk + stream->position;
    stream->position += size;
    return size;
}

/* Copies size bytes to a position in the file, or nowhere if fd is negative. Returns 0 or an errno. */
static int copy(struct stream *stream, int fd, size_t position, size_t size)
{
    while (size) {
        uint8_t *data;
        size_t taken = take(stream, size, &data);
        if (!taken)
            return errno;
        size -= taken;
        while (fd >= 0 && taken) {
            ssize_t written = pwrite(fd, data, taken, (off_t)position);
            if (written < 0 && errno != EINTR)
                return errno;
            if (written > 0) {
                data += written;
                taken -= (size_t)written;
                position += (size_t)written;
            }
        }
    }
    return 0;
}

static size_t number(const char *digits)
{
    return strtoul(digits, NULL, 8);
}

/* Copies what follows a file's header, and leaves holes in a sparse file. Returns 0 or an errno. */
static int copy_file(struct stream *stream, int fd, const struct header *header)
{
    if (header->type != 'S')
        return copy(stream, fd, 0, number(header->size));
    for (size_t i = 0; i < sizeof header->parts / sizeof *header->parts; i++) {
        int error = copy(stream, fd, number(header->parts[i].position), number(header->parts[i].size));
        if (error)
            return error;
    }
    return ftruncate(fd, (off_t)number(header->real_size)) < 0 ? errno : 0;
}

/* Overwrites one of staticx's rows of letters in the program, which is mapped. */
static bool replace_row(int fd, const uint8_t *program, size_t size, char letter, const char *text)
{
    char row[PLACEHOLDER];
    memset(row, letter, sizeof row);
    const uint8_t *found = memmem(program, size, row, sizeof row);
    memset(row, 0, sizeof row);
    memcpy(row, text, strnlen(text, sizeof row - 1));
    return found && pwrite(fd, row, sizeof row, found - program) == (ssize_t)sizeof row;
}

/* Writes the paths of the directory into the program. Returns 0 or an errno. */
static int patch(const struct home *home, int fd, size_t size)
{
    char interpreter[PLACEHOLDER + sizeof INTERPRETER];
    snprintf(interpreter, sizeof interpreter, "%s/" INTERPRETER, home->path);
    if (strlen(interpreter) >= PLACEHOLDER)
        return ENAMETOOLONG;
    uint8_t *program = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (program == MAP_FAILED)
        return errno;
    errno = ENOEXEC;
    bool patched = replace_row(fd, program, size, 'i', interpreter) && replace_row(fd, program, size, 'r', home->path);
    int error = errno;
    munmap(program, size);
    return patched ? 0 : error;
}

/* A file for code where nothing can be executed: a memfd, which dies with the processes, behind a symbolic link. */
static int create_in_memory(struct home *home, const char *name)
{
    char target[32];
    if (home->memory_count == MEMORY_FILES) {
        errno = EMFILE;
        return -1;
    }
    int fd = memfd_create(name, MFD_EXEC);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create(name, 0); /* before Linux 6.3 */
    if (fd < 0)
        return -1;
    home->memory[home->memory_count++] = fd;
    snprintf(target, sizeof target, "/proc/self/fd/%d", fd);
    return symlinkat(target, home->fd, name) < 0 ? -1 : fd;
}

/* Unpacks one file. Returns 0 or an errno. */
static int unpack_file(struct home *home, struct stream *stream, const char *name, const struct header *header)
{
    bool executable = number(header->mode) & 0100;
    bool is_program = strcmp(name, PROGRAM) == 0;
    if (home->in_memory && executable && !is_program) {
        int fd = create_in_memory(home, name); /* open until the program ends */
        return fd < 0 ? errno : copy_file(stream, fd, header);
    }
    int fd = openat(home->fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                    (executable ? 0777 : 0666) & ~home->mask);
    if (fd < 0)
        return errno;
    int error = copy_file(stream, fd, header);
    size_t size = number(header->type == 'S' ? header->real_size : header->size);
    if (!error && is_program)
        error = patch(home, fd, size);
    if (!error && is_program && home->in_memory) {
        /* PyInstaller reads its archive from a real file, whichever copy is executed. */
        int memory = create_in_memory(home, PROGRAM_IN_MEMORY);
        off_t offset = 0;
        while (!error && (memory < 0 || offset < (off_t)size))
            if (memory < 0 || sendfile(memory, fd, &offset, size - (size_t)offset) <= 0)
                error = errno ? errno : EIO;
    }
    return close(fd) < 0 && !error ? errno : error;
}

/* Unpacks one frame: a tar archive of directories and files with short names. Returns 0 or an errno. */
static int unpack_frame(struct home *home, struct shared *shared, const uint8_t *frame, size_t size)
{
    static struct stream memory;
    struct stream *stream = &memory;
    stream->decoder = ZSTD_createDStream();
    if (!stream->decoder)
        return ENOMEM;
    stream->input = (ZSTD_inBuffer){frame, size, 0};
    stream->position = stream->end = 0;
    int error = 0;
    while (!error) {
        struct header header;
        for (size_t filled = 0, taken; filled < sizeof header && !error; filled += taken) {
            uint8_t *data;
            taken = take(stream, sizeof header - filled, &data);
            if (taken)
                memcpy((char *)&header + filled, data, taken);
            else
                error = errno;
        }
        if (error || !header.name[0])
            break; /* the archive's end */
        char name[sizeof header.name + 1];
        snprintf(name, sizeof name, "%.*s", (int)sizeof header.name, header.name);
        if (header.type == '5')
            error = mkdirat(home->fd, name, 0777 & ~home->mask) < 0 && errno != EEXIST ? errno : 0;
        else
            error = unpack_file(home, stream, name, &header);
        if (!error)
            error = copy(stream, -1, 0, -number(header.size) % sizeof header);
        if (!error)
            error = __atomic_load_n(&shared->error, __ATOMIC_RELAXED);
    }
    ZSTD_freeDStream(stream->decoder);
    return error;
}

static void work(const uint8_t *frame, const uint8_t *end, struct home *home, struct shared *shared)
{
    int turn = __atomic_fetch_add(&shared->next, 1, __ATOMIC_RELAXED);
    for (int i = 0; frame < end; i++) {
        size_t size = ZSTD_findFrameCompressedSize(frame, (size_t)(end - frame));
        int error = ZSTD_isError(size) ? EBADMSG : 0;
        if (!error && i == turn) {
            error = unpack_frame(home, shared, frame, size);
            turn = __atomic_fetch_add(&shared->next, 1, __ATOMIC_RELAXED);
        }
        if (error) {
            __atomic_store_n(&shared->error, error, __ATOMIC_RELAXED);
            return;
        }
        frame += size;
    }
}

/* Unpacks the frames between two offsets with at most as many processes. Returns 0 or an errno. */
int unpack(const struct self *self, struct home *home, uint64_t from, uint64_t to, int processes)
{
    struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return errno;
    cpu_set_t processors;
    int count = sched_getaffinity(0, sizeof processors, &processors) < 0 ? 1 : CPU_COUNT(&processors);
    if (count > processes)
        count = processes;
    if (count > MAX_PROCESSES)
        count = MAX_PROCESSES;
    pid_t helpers[MAX_PROCESSES];
    pid_t unpacker = getpid();
    int started = 0;
    for (; started < count - 1; started++) {
        helpers[started] = fork();
        if (helpers[started] < 0)
            break; /* fewer will do */
        if (helpers[started] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL); /* where a sandbox lets it */
            if (getppid() == unpacker)
                work(self->data + from, self->data + to, home, shared);
            _exit(0);
        }
    }
    work(self->data + from, self->data + to, home, shared);
    for (int i = 0; i < started; i++) {
        int status = 0;
        while (waitpid(helpers[i], &status, 0) < 0 && errno == EINTR)
            continue;
        if (status != 0 && !shared->error)
            shared->error = ENOMEM; /* it was killed, for the want of memory most likely */
    }
    int error = shared->error;
    munmap(shared, sizeof *shared);
    return error;
}
