#define _GNU_SOURCE
#include "CSimulatedDisk.h"
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// One write since the last sync, or one truncation (`length` 0, `is_truncation`).
struct write {
    struct write *next;
    sqlite3_int64 offset;
    sqlite3_int64 size_before;
    int length;
    int is_truncation;
    unsigned char *before; // what stood there, zeroes beyond the end
    unsigned char *after;
};

// The book of one file, kept by path: it outlives the open file.
struct book {
    struct book *next;
    char *path;
    struct write *first, *last;
};

struct folder {
    struct folder *next;
    char *path;
    enum jcd_fault fault;
    int after, has_struck;
    enum jcd_syncs syncs;
};

struct file {
    sqlite3_file base;
    struct book *book; // NULL: passes through
    struct folder *folder;
    sqlite3_file *real;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct book *books;
static struct folder *folders;
static sqlite3_vfs *system_vfs;
static sqlite3_vfs vfs;
static sqlite3_io_methods methods;

static sqlite3_file *real_of(sqlite3_file *file) { return ((struct file *)file)->real; }

// The folder of one history: up to and with the name that has the marker in it.
static char *folder_of(const char *path) {
    const char *mark = path == NULL ? NULL : strstr(path, "jobctl-simulation-");
    if (mark == NULL) return NULL;
    const char *end = strchr(mark, '/');
    return end == NULL ? strdup(path) : strndup(path, (size_t)(end - path));
}

// With the lock held.
static struct folder *find_folder(const char *path) {
    for (struct folder *f = folders; f != NULL; f = f->next)
        if (strcmp(f->path, path) == 0) return f;
    struct folder *f = calloc(1, sizeof *f);
    if (f == NULL) abort();
    f->path = strdup(path);
    f->next = folders;
    return folders = f;
}

static struct book *find_book(const char *path, int make) {
    for (struct book *b = books; b != NULL; b = b->next)
        if (strcmp(b->path, path) == 0) return b;
    if (!make) return NULL;
    struct book *b = calloc(1, sizeof *b);
    if (b == NULL) abort();
    b->path = strdup(path);
    b->next = books;
    return books = b;
}

static void clear(struct book *book) {
    while (book->first != NULL) {
        struct write *w = book->first;
        book->first = w->next;
        free(w->before);
        free(w->after);
        free(w);
    }
    book->last = NULL;
}

static int strikes(struct folder *folder, int is_sync) {
    if (folder->fault == JCD_NONE || --folder->after > 0) return SQLITE_OK;
    if (folder->fault == JCD_SYNC_FAILS && !is_sync) return SQLITE_OK;
    if (folder->fault != JCD_SYNC_FAILS && is_sync) return SQLITE_OK;
    folder->has_struck = 1;
    switch (folder->fault) {
    case JCD_FULL: return SQLITE_FULL;
    case JCD_WRITE_FAILS: return SQLITE_IOERR_WRITE;
    default: return SQLITE_IOERR_FSYNC;
    }
}

static void note(struct file *file, const void *bytes, int length, sqlite3_int64 offset, int is_truncation) {
    struct write *w = calloc(1, sizeof *w);
    if (w == NULL) abort();
    w->offset = offset;
    w->length = length;
    w->is_truncation = is_truncation;
    file->real->pMethods->xFileSize(file->real, &w->size_before);
    if (is_truncation) w->length = w->size_before > offset ? (int)(w->size_before - offset) : 0;
    w->before = calloc(1, (size_t)w->length + 1);
    w->after = calloc(1, (size_t)w->length + 1);
    if (w->before == NULL || w->after == NULL) abort();
    // A short read leaves zeroes.
    if (w->length > 0) file->real->pMethods->xRead(file->real, w->before, w->length, offset);
    if (bytes != NULL) memcpy(w->after, bytes, (size_t)length);
    if (file->book->last != NULL) file->book->last->next = w;
    else file->book->first = w;
    file->book->last = w;
}

static int x_close(sqlite3_file *file) {
    struct file *f = (struct file *)file;
    int code = f->real->pMethods->xClose(f->real);
    sqlite3_free(f->real);
    return code;
}

static int x_read(sqlite3_file *file, void *bytes, int length, sqlite3_int64 offset) {
    return real_of(file)->pMethods->xRead(real_of(file), bytes, length, offset);
}

static int x_write(sqlite3_file *file, const void *bytes, int length, sqlite3_int64 offset) {
    struct file *f = (struct file *)file;
    if (f->book != NULL) {
        pthread_mutex_lock(&lock);
        int code = strikes(f->folder, 0);
        if (code == SQLITE_OK) note(f, bytes, length, offset, 0);
        pthread_mutex_unlock(&lock);
        if (code != SQLITE_OK) return code;
    }
    return f->real->pMethods->xWrite(f->real, bytes, length, offset);
}

static int x_truncate(sqlite3_file *file, sqlite3_int64 size) {
    struct file *f = (struct file *)file;
    if (f->book != NULL) {
        pthread_mutex_lock(&lock);
        note(f, NULL, 0, size, 1);
        pthread_mutex_unlock(&lock);
    }
    return f->real->pMethods->xTruncate(f->real, size);
}

static int is_log(const char *path) {
    size_t length = strlen(path);
    return length > 4 && strcmp(path + length - 4, "-wal") == 0;
}

static int x_sync(sqlite3_file *file, int flags) {
    struct file *f = (struct file *)file;
    if (f->book == NULL) return f->real->pMethods->xSync(f->real, flags);
    pthread_mutex_lock(&lock);
    int code = strikes(f->folder, 1);
    enum jcd_syncs syncs = f->folder->syncs;
    int lies = syncs == JCD_SYNCS_NOTHING || (syncs == JCD_SYNCS_NO_LOG && is_log(f->book->path));
    if (code == SQLITE_OK && !lies) clear(f->book);
    pthread_mutex_unlock(&lock);
    return code;
}

static int x_size(sqlite3_file *file, sqlite3_int64 *size) {
    return real_of(file)->pMethods->xFileSize(real_of(file), size);
}
static int x_lock(sqlite3_file *file, int level) { return real_of(file)->pMethods->xLock(real_of(file), level); }
static int x_unlock(sqlite3_file *file, int level) { return real_of(file)->pMethods->xUnlock(real_of(file), level); }
static int x_reserved(sqlite3_file *file, int *result) {
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), result);
}
static int x_control(sqlite3_file *file, int op, void *argument) {
    return real_of(file)->pMethods->xFileControl(real_of(file), op, argument);
}
static int x_sector(sqlite3_file *file) { return real_of(file)->pMethods->xSectorSize(real_of(file)); }
static int x_device(sqlite3_file *file) {
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}
static int x_map(sqlite3_file *file, int page, int size, int extend, void volatile **memory) {
    return real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, memory);
}
static int x_shm_lock(sqlite3_file *file, int offset, int count, int flags) {
    return real_of(file)->pMethods->xShmLock(real_of(file), offset, count, flags);
}
static void x_barrier(sqlite3_file *file) { real_of(file)->pMethods->xShmBarrier(real_of(file)); }
static int x_unmap(sqlite3_file *file, int deletes) {
    return real_of(file)->pMethods->xShmUnmap(real_of(file), deletes);
}

static int x_open(sqlite3_vfs *self, sqlite3_filename name, sqlite3_file *file, int flags, int *out) {
    (void)self;
    struct file *f = (struct file *)file;
    memset(f, 0, sizeof *f);
    sqlite3_file *real = sqlite3_malloc(system_vfs->szOsFile);
    if (real == NULL) return SQLITE_NOMEM;
    memset(real, 0, (size_t)system_vfs->szOsFile);
    int code = system_vfs->xOpen(system_vfs, name, real, flags, out);
    if (code != SQLITE_OK) {
        if (real->pMethods != NULL) real->pMethods->xClose(real);
        sqlite3_free(real);
        return code;
    }
    f->real = real;
    f->base.pMethods = &methods;
    char *folder = folder_of(name);
    if (folder != NULL && (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL))) {
        pthread_mutex_lock(&lock);
        f->folder = find_folder(folder);
        f->book = find_book(name, 1);
        pthread_mutex_unlock(&lock);
    }
    free(folder);
    return SQLITE_OK;
}

int jcd_install(void) {
    pthread_mutex_lock(&lock);
    int code = SQLITE_OK;
    if (system_vfs == NULL) {
        code = sqlite3_initialize();
        system_vfs = sqlite3_vfs_find(NULL);
        vfs = *system_vfs;
        vfs.zName = "jobctl-simulated-disk";
        vfs.szOsFile = sizeof(struct file);
        vfs.pNext = NULL;
        vfs.xOpen = x_open;
        methods = (sqlite3_io_methods){
            .iVersion = 2, .xClose = x_close, .xRead = x_read, .xWrite = x_write, .xTruncate = x_truncate,
            .xSync = x_sync, .xFileSize = x_size, .xLock = x_lock, .xUnlock = x_unlock,
            .xCheckReservedLock = x_reserved, .xFileControl = x_control, .xSectorSize = x_sector,
            .xDeviceCharacteristics = x_device, .xShmMap = x_map, .xShmLock = x_shm_lock,
            .xShmBarrier = x_barrier, .xShmUnmap = x_unmap};
        if (code == SQLITE_OK) code = sqlite3_vfs_register(&vfs, 1);
    }
    pthread_mutex_unlock(&lock);
    return code;
}

void jcd_arm(const char *folder, enum jcd_fault fault, int after) {
    pthread_mutex_lock(&lock);
    struct folder *f = find_folder(folder);
    f->fault = fault;
    f->after = after;
    f->has_struck = 0;
    pthread_mutex_unlock(&lock);
}

int jcd_has_struck(const char *folder) {
    pthread_mutex_lock(&lock);
    int struck = find_folder(folder)->has_struck;
    pthread_mutex_unlock(&lock);
    return struck;
}

void jcd_set_syncs(const char *folder, enum jcd_syncs syncs) {
    pthread_mutex_lock(&lock);
    find_folder(folder)->syncs = syncs;
    pthread_mutex_unlock(&lock);
}

static uint64_t roll(uint64_t *state) { // SplitMix64
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

// What was synced, and of each later write all, nothing, or its first sectors.
static int replay(struct book *book, unsigned char **bytes, sqlite3_int64 *size, uint64_t seed) {
    int count = 0, lost = 0;
    for (struct write *w = book->first; w != NULL; w = w->next) count++;
    struct write **all = calloc((size_t)count + 1, sizeof *all);
    if (all == NULL) abort();
    sqlite3_int64 most = *size;
    int place = 0;
    for (struct write *w = book->first; w != NULL; w = w->next) {
        all[place++] = w;
        if (w->offset + w->length > most) most = w->offset + w->length;
    }
    unsigned char *content = calloc(1, (size_t)most + 1);
    if (content == NULL) abort();
    memcpy(content, *bytes, (size_t)*size);
    for (int i = count - 1; i >= 0; i--) {
        memcpy(content + all[i]->offset, all[i]->before, (size_t)all[i]->length);
        *size = all[i]->size_before;
    }
    memset(content + *size, 0, (size_t)(most - *size));
    for (int i = 0; i < count; i++) {
        int length = all[i]->length;
        uint64_t drawn = roll(&seed) % 4;
        if (drawn != 0) lost++;
        if (drawn == 1 || drawn == 2) continue;
        if (all[i]->is_truncation) {
            if (drawn == 0 && all[i]->offset < *size) {
                memset(content + all[i]->offset, 0, (size_t)(*size - all[i]->offset));
                *size = all[i]->offset;
            }
            continue;
        }
        if (drawn == 3) length = (int)(roll(&seed) % (uint64_t)(length / 512 + 1)) * 512;
        memcpy(content + all[i]->offset, all[i]->after, (size_t)length);
        if (length > 0 && all[i]->offset + length > *size) *size = all[i]->offset + length;
    }
    free(all);
    free(*bytes);
    *bytes = content;
    return lost;
}

int jcd_copy_after_power_loss(const char *from, const char *to, uint64_t seed) {
    FILE *in = fopen(from, "rb");
    if (in == NULL) return -1;
    fseek(in, 0, SEEK_END);
    sqlite3_int64 size = ftell(in);
    rewind(in);
    unsigned char *bytes = calloc(1, (size_t)size + 1);
    if (bytes == NULL) abort();
    size_t got = fread(bytes, 1, (size_t)size, in);
    fclose(in);
    int lost = 0;
    pthread_mutex_lock(&lock);
    struct book *book = find_book(from, 0);
    if (book != NULL) lost = replay(book, &bytes, &size, seed);
    pthread_mutex_unlock(&lock);
    FILE *out = got == 0 && size > 0 && lost == 0 ? NULL : fopen(to, "wb");
    if (out == NULL) {
        free(bytes);
        return -1;
    }
    size_t put = fwrite(bytes, 1, (size_t)size, out);
    int closed = fclose(out);
    free(bytes);
    return put == (size_t)size && closed == 0 ? lost : -1;
}

void jcd_forget(const char *folder) {
    pthread_mutex_lock(&lock);
    size_t length = strlen(folder);
    for (struct book **place = &books; *place != NULL;) {
        struct book *b = *place;
        if (strncmp(b->path, folder, length) != 0) {
            place = &b->next;
            continue;
        }
        *place = b->next;
        clear(b);
        free(b->path);
        free(b);
    }
    for (struct folder **place = &folders; *place != NULL;) {
        struct folder *f = *place;
        if (strcmp(f->path, folder) != 0) {
            place = &f->next;
            continue;
        }
        *place = f->next;
        free(f->path);
        free(f);
    }
    pthread_mutex_unlock(&lock);
}
