/* Putting the unpacked program into a directory for good. */
#include "launcher.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#define OPTION "--install"

/* The directory if the command line is --install DIR or --install=DIR; it is empty if none is named, and NULL if the command
 * line is for the program. */
const char *directory_to_install(char **argv)
{
    const char *option = argv[0] ? argv[1] : NULL;
    if (!option || strncmp(option, OPTION, strlen(OPTION)) != 0)
        return NULL;
    const char *value = option + strlen(OPTION);
    char **rest = argv + 2;
    if (*value == '=')
        value++;
    else if (*value)
        return NULL;
    else if (*rest)
        value = *rest++;
    return *rest ? "" : value;
}

/* Why what is at the command's name must not be replaced, or NULL. */
static const char *obstacle(int parent)
{
    char target[PATH_MAX];
    ssize_t length = readlinkat(parent, COMMAND, target, sizeof target - 1);
    if (length < 0)
        return errno == ENOENT ? NULL : errno == EINVAL ? "there is a " COMMAND " that is not from " OPTION : strerror(errno);
    target[length] = '\0';
    const char *slash = strchr(target, '/');
    bool is_ours = strncmp(target, PREFIX, strlen(PREFIX)) == 0 && slash && strcmp(slash, "/" INSTALLED) == 0;
    return is_ours ? NULL : "there is a " COMMAND " that is not from " OPTION;
}

/* Writes the launcher into the directory, without what is packed behind it. Returns 0 or an errno. */
static int write_launcher(const struct self *self, const struct home *home)
{
    size_t code = self->trailer.frames, hashed = offsetof(struct trailer, hash);
    struct trailer trailer = self->trailer;
    trailer.rest = trailer.frames;
    uint8_t *content = malloc(code + sizeof trailer);
    if (!content)
        return errno;
    memcpy(content, self->data, code);
    memcpy(content + code, &trailer, sizeof trailer);
    trailer.hash = checksum(content, code + hashed);
    memcpy(content + code, &trailer, sizeof trailer);
    int fd = openat(home->fd, INSTALLED, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0777 & ~home->mask);
    int error = fd < 0 ? errno : 0;
    for (size_t done = 0; !error && done < code + sizeof trailer;) {
        ssize_t written = write(fd, content + done, code + sizeof trailer - done);
        if (written > 0)
            done += (size_t)written;
        else if (errno != EINTR)
            error = errno;
    }
    if (fd >= 0 && close(fd) < 0 && !error)
        error = errno;
    free(content);
    return error;
}

/* Fills the directory, has it on the disk, and makes the command a link into it. Returns 0, an errno, or minus a signal. */
static int fill(const struct self *self, struct home *home, const sigset_t *forwarded)
{
    const char *name = strrchr(home->path, '/') + 1;
    char target[PATH_MAX];
    snprintf(target, sizeof target, "%s/" INSTALLED, name);
    int error = unpack(self, home, self->trailer.frames, self->size - sizeof self->trailer, INT_MAX);
    if (!error)
        error = write_launcher(self, home);
    if (!error && syncfs(home->fd) < 0)
        error = errno;
    int signal = error ? 0 : pending_signal(forwarded);
    if (signal)
        return -signal;
    if (!error && (symlinkat(target, home->fd, "link") < 0 || renameat(home->fd, "link", home->parent, COMMAND) < 0))
        error = errno;
    return error;
}

/* Returns an exit code. */
int install(const struct self *self, const char *directory, const sigset_t *forwarded, const struct caller *caller)
{
    if (!*directory || *directory == '-') { /* nobody means a directory called --help */
        say("write " OPTION " DIRECTORY, with no other option");
        return 2;
    }
    if (is_installed(self)) {
        say("%s is installed; to install it again or elsewhere, use dockersave-static", self->path);
        return 1;
    }
    const struct place place = {.path = directory, .is_kept = true, .mask = caller->creation_mask | (S_IWGRP | S_IWOTH)};
    umask(place.mask);
    bool is_new = mkdir(directory, 0777) == 0;
    static struct home home;
    const char *problem = make_home(&place, self->trailer.unpacked, false, &home);
    int error = 0;
    if (!problem) {
        problem = obstacle(home.parent);
        error = problem ? 0 : fill(self, &home, forwarded);
        if (error > 0)
            problem = strerror(error);
        if (problem || error < 0)
            remove_home(&home);
    }
    if (problem || error < 0) {
        if (is_new)
            rmdir(directory);
        if (problem)
            say("cannot install in %s: %s", directory, problem);
        return problem ? 7 : 128 - error;
    }
    fsync(home.parent); /* the link; and what it replaced can go */
    flock(home.fd, LOCK_SH);
    sweep(home.parent);
    return 0;
}
