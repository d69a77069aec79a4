/* How much memory there is: the kernel kills without a word whoever takes more. */
#include "launcher.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/vfs.h>

#define MEBI (UINT64_C(1) << 20)
#define TMPFS 0x01021994 /* linux/magic.h, TMPFS_MAGIC */
#define RAMFS 0x858458f6 /* RAMFS_MAGIC */

/* Reads the number behind a key in a file, or its first one if there is no key. Returns whether there is one. */
static bool read_number(const char *path, const char *key, uint64_t *number)
{
    static char content[16384];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, content, sizeof content - 1);
    if (fd >= 0)
        close(fd);
    if (length <= 0)
        return false;
    content[length] = '\0';
    const char *found = *key ? strstr(content, key) : content;
    char *end;
    *number = found ? strtoull(found + strlen(key), &end, 10) : 0;
    return found && end > found + strlen(key);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What a control group, and the groups that it is in, leave to take; what only repeats files does not count as taken.
 * Linux, Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst. */
static uint64_t left_in_groups(const char *mount, const char *group, const char *limit, const char *usage, const char *total)
{
    char directory[PATH_MAX], path[PATH_MAX + 64], key[64];
    uint64_t left = UINT64_MAX;
    snprintf(directory, sizeof directory, "%s%s", mount, group);
    for (;;) {
        uint64_t most, used, active = 0, inactive = 0;
        snprintf(path, sizeof path, "%s/%s", directory, limit);
        bool has_limit = read_number(path, "", &most);
        snprintf(path, sizeof path, "%s/%s", directory, usage);
        if (has_limit && read_number(path, "", &used)) {
            snprintf(path, sizeof path, "%s/memory.stat", directory);
            snprintf(key, sizeof key, "\n%sactive_file ", total);
            read_number(path, key, &active);
            snprintf(key, sizeof key, "\n%sinactive_file ", total);
            read_number(path, key, &inactive);
            used -= least(used, active + inactive);
            left = least(left, most - least(most, used));
        }
        char *slash = strlen(directory) > strlen(mount) ? strrchr(directory, '/') : NULL;
        if (!slash)
            return left;
        *slash = '\0';
    }
}

/* The bytes of memory that can still be taken; UINT64_MAX if nothing says so. */
uint64_t free_memory(void)
{
    uint64_t left = UINT64_MAX, available;
    if (read_number("/proc/meminfo", "\nMemAvailable:", &available))
        left = available * 1024;
    FILE *groups = fopen("/proc/self/cgroup", "re");
    char line[PATH_MAX + 64];
    while (groups && fgets(line, sizeof line, groups)) { /* ID:CONTROLLERS:PATH; cgroups(7) */
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        if (strcmp(controllers, ":memory") == 0)
            left = least(left, left_in_groups("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes",
                                              "memory.usage_in_bytes", "total_"));
        else if (strcmp(controllers, ":") == 0)
            left = least(left, left_in_groups("/sys/fs/cgroup", path, "memory.max", "memory.current", ""));
    }
    if (groups)
        fclose(groups);
    return left;
}

/* Whether what is written to the open file takes memory. */
bool is_memory(int fd)
{
    struct statfs volume;
    return fstatfs(fd, &volume) == 0 && ((uint32_t)volume.f_type == TMPFS || (uint32_t)volume.f_type == RAMFS);
}

static uint64_t address_space(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_AS, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
}

/* Whether the program should do with less, though it gets slower. */
bool is_memory_short(void)
{
    return free_memory() < SHORT_MEMORY * MEBI || address_space() < SHORT_ADDRESSES * MEBI;
}

/* What is missing for so many MiB of memory, and so many of addresses, in a line that is overwritten by the next; or NULL. */
const char *lack(unsigned memory, unsigned addresses)
{
    static char line[128];
    uint64_t left = free_memory(), limit = address_space();
    if (left < memory * MEBI)
        snprintf(line, sizeof line, "needs %u MiB of memory, and %u MiB are left", memory, (unsigned)(left / MEBI));
    else if (limit < addresses * MEBI)
        snprintf(line, sizeof line, "needs %u MiB of addresses, and the limit is %u MiB (ulimit -v)", addresses,
                 (unsigned)(limit / MEBI));
    else
        return NULL;
    return line;
}
