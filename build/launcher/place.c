/* Where the program is unpacked: finding a place, and leaving nothing in it. */
#include "launcher.h"

#include <dirent.h>
#include <fcntl.h>
#include <locale.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

static const char ALPHABET[] = "abcdefghijklmnopqrstuvwxyz234567";

/* Removes everything in the open directory, the mark last, for whoever has to go on with it; and closes it. Returns 0 or an
 * errno. */
static int remove_contents(int fd)
{
    DIR *directory = fdopendir(fd);
    int problem = directory ? 0 : errno;
    if (!directory)
        close(fd);
    struct dirent *entry;
    while (directory && (errno = 0, entry = readdir(directory))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || strcmp(entry->d_name, MARK) == 0)
            continue;
        if (unlinkat(fd, entry->d_name, 0) == 0)
            continue;
        int error = errno;
        int inner = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (inner >= 0) {
            error = remove_contents(inner);
            if (!error && unlinkat(fd, entry->d_name, AT_REMOVEDIR) < 0)
                error = errno;
        }
        if (error)
            problem = error;
    }
    if (directory) {
        problem = problem ? problem : errno;
        if (!problem)
            unlinkat(fd, MARK, 0);
        closedir(directory);
    }
    return problem;
}

/* Removes a directory that is open; its lock holds until it is closed. Returns 0 or an errno. */
static int remove_directory(int parent, const char *name, int fd)
{
    int contents = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = contents < 0 ? errno : remove_contents(contents);
    return unlinkat(parent, name, AT_REMOVEDIR) < 0 && !error && errno != ENOENT ? errno : error;
}

/* Returns 0 or an errno. */
int remove_home(const struct home *home)
{
    for (int i = 0; i < home->memory_count; i++)
        close(home->memory[i]);
    int error = remove_directory(home->parent, strrchr(home->path, '/') + 1, home->fd);
    close(home->fd);
    close(home->parent);
    return error;
}

static bool is_home(const char *name)
{
    return strncmp(name, PREFIX, strlen(PREFIX)) == 0 && strlen(name) == strlen(PREFIX) + RANDOM_CHARACTERS
        && strspn(name + strlen(PREFIX), ALPHABET) == RANDOM_CHARACTERS;
}

/* Removes what launchers that were killed left in the directory, and what was installed and is replaced: ours by name, owner
 * and mark, no longer locked, and not what the command links to. Returns 0, or an errno if there is no telling. */
int sweep(int parent)
{
    char kept[sizeof PREFIX + RANDOM_CHARACTERS] = ""; /* cut off behind the directory's name */
    if (readlinkat(parent, COMMAND, kept, sizeof kept - 1) < 0)
        kept[0] = '\0';
    int fd = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (!directory) {
        if (fd >= 0)
            close(fd);
        return 0; /* who may not read it may write there all the same */
    }
    struct dirent *entry;
    while ((errno = 0, entry = readdir(directory))) {
        if (!is_home(entry->d_name) || strcmp(entry->d_name, kept) == 0)
            continue;
        int left = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct stat status;
        if (left < 0)
            continue;
        if (fstat(left, &status) == 0 && status.st_uid == geteuid() && !(status.st_mode & (S_IWGRP | S_IWOTH))
            && flock(left, LOCK_EX | LOCK_NB) == 0) {
            if (fstatat(left, MARK, &status, AT_SYMLINK_NOFOLLOW) == 0)
                remove_directory(fd, entry->d_name, left);
            else
                unlinkat(fd, entry->d_name, AT_REMOVEDIR); /* if it is empty */
        }
        close(left);
    }
    int error = errno;
    closedir(directory);
    return error;
}

/* Whether uid is the stand-in for owners from outside this user namespace, root among them, and no user in it. */
static bool is_foreign(uid_t uid)
{
    FILE *map = uid == 65534 ? fopen("/proc/self/uid_map", "re") : NULL;
    if (!map)
        return false;
    unsigned long first, outside, count;
    bool foreign = true;
    while (fscanf(map, "%lu %lu %lu", &first, &outside, &count) == 3)
        foreign = foreign && (uid < first || uid - first >= count);
    fclose(map);
    return foreign;
}

/* Why another user could put a file of his under path, or NULL. Looks at every directory on the way. */
static const char *insecurity(const char *path, const struct place *place)
{
    char part[PATH_MAX];
    snprintf(part, sizeof part, "%s", path);
    for (;;) {
        struct stat status;
        if (lstat(part, &status) < 0)
            return strerror(errno);
        if (is_foreign(status.st_uid)) {
            if (!place->is_system)
                return "cannot be told from another user's in this user namespace";
        } else if (status.st_uid != 0 && status.st_uid != geteuid())
            return "belongs to another user, or lies in a directory that does";
        bool is_shared = status.st_mode & (S_IWGRP | S_IWOTH);
        if (is_shared && place->is_kept && strcmp(part, path) == 0)
            return "other users can write there";
        if (is_shared && !(status.st_mode & S_ISVTX))
            return "other users can write there, or in a directory above without a sticky bit";
        if (strcmp(part, "/") == 0)
            return NULL;
        char *slash = strrchr(part, '/');
        slash[slash == part] = '\0';
    }
}

/* Why the path of the directory could not be handed on to the program, or NULL. */
static const char *unfitness(const char *path)
{
    /* It becomes an RPATH, where these have a meaning, in a row of fixed length. */
    if (strpbrk(path, ":;$"))
        return "has ':', ';' or '$' in its path";
    if (strlen(path) + strlen("/" PREFIX "/" INTERPRETER) + RANDOM_CHARACTERS >= PLACEHOLDER)
        return "its path is too long";
    /* And Python imports from there before it could say that it cannot. */
    setlocale(LC_CTYPE, "C.UTF-8");
    if (mbstowcs(NULL, path, 0) == (size_t)-1)
        return "its path is not UTF-8";
    return NULL;
}

/* Why the volume would not do, or NULL. */
static const char *shortcoming(int parent, uint64_t space, bool in_memory, bool on_disk)
{
    struct statvfs volume;
    if (on_disk && is_memory(parent))
        return "in memory, which is short";
    if (fstatvfs(parent, &volume) < 0)
        return strerror(errno);
    if (!in_memory && (volume.f_flag & ST_NOEXEC))
        return "mounted noexec";
    if (volume.f_blocks && (uint64_t)volume.f_bavail * volume.f_frsize < space) /* some do not tell */
        return strerror(ENOSPC);
    return is_memory(parent) ? lack(START_MEMORY + (unsigned)(space >> 20), 0) : NULL;
}

static void draw(uint8_t random[static RANDOM_CHARACTERS], int attempt)
{
    if (getrandom(random, RANDOM_CHARACTERS, GRND_NONBLOCK) == RANDOM_CHARACTERS)
        return;
    /* Early in boot. Nothing secret depends on it: mkdir() fails if the name is taken. */
    uint64_t seed = (uint64_t)getpid() * 2654435761U + (uint64_t)attempt;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    seed ^= (uint64_t)now.tv_nsec << 20;
    uint64_t mixed[2] = {checksum(&seed, sizeof seed), checksum(&seed, sizeof seed - 1)};
    memcpy(random, mixed, RANDOM_CHARACTERS);
}

/* Makes a directory whose name is at the end of the path, locks it, and writes into it that it is ours. Returns 0 or an
 * errno. */
static int try_home(struct home *home)
{
    const char *name = strrchr(home->path, '/') + 1;
    if (mkdirat(home->parent, name, 0777 & ~home->mask) < 0)
        return errno;
    int mark = -1;
    home->fd = openat(home->parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (home->fd >= 0 && flock(home->fd, LOCK_EX | LOCK_NB) == 0)
        mark = openat(home->fd, MARK, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int error = mark < 0 ? errno : 0;
    if (mark >= 0)
        close(mark);
    if (error && home->fd >= 0)
        close(home->fd);
    if (error)
        unlinkat(home->parent, name, AT_REMOVEDIR);
    return error;
}

/* Makes the private directory in place; says why not if it cannot. */
const char *make_home(const struct place *place, uint64_t space, bool in_memory, struct home *home)
{
    char real[PATH_MAX];
    if (!realpath(place->path, real))
        return strerror(errno);
    const char *problem = unfitness(real);
    if (problem)
        return problem;
    home->in_memory = in_memory;
    home->mask = place->mask;
    home->memory_count = 0;
    home->parent = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (home->parent < 0)
        return strerror(errno);
    problem = insecurity(real, place);
    /* Before anything is unpacked: starts that are killed then would leave one directory after the other. */
    static char unreadable[64];
    int error = problem ? 0 : sweep(home->parent);
    if (error) {
        snprintf(unreadable, sizeof unreadable, "cannot be listed: %s", strerror(error));
        problem = unreadable;
    }
    if (!problem)
        problem = shortcoming(home->parent, space, in_memory, place->on_disk);
    /* A name may be taken; and somebody who sweeps may find the directory before its lock, and remove it. */
    error = EAGAIN;
    for (int attempt = 0; !problem && attempt < 100; attempt++) {
        uint8_t random[RANDOM_CHARACTERS];
        draw(random, attempt);
        size_t end = (size_t)snprintf(home->path, PLACEHOLDER, "%s/%s", strcmp(real, "/") ? real : "", PREFIX);
        for (size_t i = 0; i < RANDOM_CHARACTERS; i++)
            home->path[end + i] = ALPHABET[random[i] % 32];
        home->path[end + RANDOM_CHARACTERS] = '\0';
        error = try_home(home);
        if (error == 0)
            return NULL;
        if (error != EEXIST && error != EAGAIN && error != ENOENT)
            break;
    }
    close(home->parent);
    return problem ? problem : strerror(error);
}
