/*
 * dockersave-static's launcher: unpacks the program that is packed behind it into a private directory, runs it as a
 * child, passes signals on, and removes the directory again.
 *
 * The file, as build/stage.py writes it:
 *
 *     this launcher (static ELF) | zstd frames, each a tar archive | struct trailer
 *
 * With --install DIR the directory is DIR/dockersave-..., and stays. In it is the launcher once more, without frames; it
 * becomes the program that is beside it. DIR/dockersave is a link to that launcher. What links to a directory decides
 * whether it is in use: so nothing is ever half installed, and what was there before is removed like all that is left.
 *
 * The program among the files is what staticx made of PyInstaller's: an ELF whose interpreter and RPATH are rows of
 * letters, to be overwritten with paths in the directory. Nothing of the host is needed: no /tmp, /proc, /dev, /etc, HOME
 * or terminal.
 */
#ifndef DOCKERSAVE_LAUNCHER_H
#define DOCKERSAVE_LAUNCHER_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define PREFIX "dockersave-" /* of the directory's name */
#define RANDOM_CHARACTERS 16
#define MARK ".unpacked-by-dockersave" /* the directory's first file: without it, nothing in there is removed */
#define COMMAND "dockersave"             /* what --install puts beside the directory: a link to... */
#define INSTALLED "dockersave-installed" /* ...the launcher in it */
#define DESCRIPTORS 8                  /* how many the launcher needs at once, beside the standard streams */
#define MEMORY_FILES 128
#define PROGRAM "dockersave-static" /* the packed program's name */
#define PROGRAM_IN_MEMORY "dockersave-memory" /* no name of a module */
/* INTERPRETER, the name of the C library's loader, is the target's: build/targets. */
#define PLACEHOLDER 256 /* length of staticx's rows of letters, bytes */


/* MiB, measured with tests/appliance/memory.py. */
#define SHORT_MEMORY 64     /* with less, disks are preferred, and the program has fewer connections */
#define SHORT_ADDRESSES 512 /* threads take many */
#define START_MEMORY 12     /* for --version and --help */
#define START_ADDRESSES 16
#define SAVE_MEMORY 12 /* more, for all else; it has taken 8 by then */
#define REST_MEMORY 8  /* more, if the rest of the files is in memory */
#define INSTALLED_MEMORY 16 /* for a save with what is installed */
#define SAVE_ADDRESSES 128

#ifndef MFD_EXEC
#define MFD_EXEC 0x10U
#endif

struct trailer {       /* little endian, as stored */
    uint64_t frames;   /* where the first frame begins */
    uint64_t rest;     /* where the frames begin that are unpacked only when they are asked for */
    uint64_t unpacked; /* space that all files take, bytes */
    uint64_t written;  /* the same without those that can live in memory, bytes */
    uint64_t hash;     /* XXH64 of everything before this field */
    char magic[8];
};

struct self { /* the running file */
    char path[PATH_MAX];
    const uint8_t *data;
    size_t size;
    struct trailer trailer;
};

static inline bool is_installed(const struct self *self) /* with nothing packed behind it: the program is beside it */
{
    return self->trailer.frames + sizeof self->trailer == self->size;
}

static inline int megabytes(const struct self *self) /* that unpacking takes, rounded up */
{
    return (int)(self->trailer.unpacked / 1000000 + 1);
}

struct place { /* where the private directory may be made */
    const char *path;
    bool is_system; /* at a path of the system's, that nobody chose */
    bool on_disk;   /* it must not take memory */
    bool is_kept;   /* for good: nobody else may write there, and whoever the umask lets may read */
    mode_t mask;    /* what nobody may do with what is in there */
};

struct home { /* the private directory */
    char path[PLACEHOLDER];
    int parent;
    int fd;                   /* holds the lock that says: in use */
    mode_t mask;
    bool in_memory;           /* nothing can be executed there: executables are memfds, reached through symbolic links */
    int memory[MEMORY_FILES]; /* these */
    int memory_count;
};

struct caller { /* what whoever started the launcher has set, and the program gets back */
    sigset_t mask;
    struct sigaction pipe, file_size;
    mode_t creation_mask;
    char **environment;
};

/* main.c */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* signals.c */
void block_signals(sigset_t *forwarded, struct caller *caller);
void restore_signals(const struct caller *caller);
int pending_signal(const sigset_t *forwarded);

/* place.c */
const char *make_home(const struct place *place, uint64_t space, bool in_memory, struct home *home);
int remove_home(const struct home *home);
int sweep(int parent);

/* unpack.c */
int unpack(const struct self *self, struct home *home, uint64_t from, uint64_t to, int processes);

/* zstd.c */
uint64_t checksum(const void *data, size_t size);

/* run.c */
void hide_environment(char **environment);
int run(const struct self *self, struct home *home, char **argv, const sigset_t *forwarded, const struct caller *caller);
int start_installed(const struct self *self, char **argv, const struct caller *caller);

/* memory.c */
uint64_t free_memory(void);
bool is_memory(int fd);
bool is_memory_short(void);
const char *lack(unsigned memory, unsigned addresses);

/* install.c */
const char *directory_to_install(char **argv);
int install(const struct self *self, const char *directory, const sigset_t *forwarded, const struct caller *caller);

#endif
