/*
 * Programs/python.c of the release: says who we are before the interpreter looks.
 *
 * CPython finds its library from argv[0], and looks that up in PATH when it has no slash. argv[0] is what the caller liked to write:
 * `exec -a python3 /moved/bin/python3` would take the standard library of the first python3 in PATH. So: when argv[0] does not lead to
 * the file that is running, it is replaced by a path that does. A right argv[0] stays as it is, or a symbolic link into a virtual
 * environment would lose its meaning. Without /proc nobody can tell, and argv[0] stays.
 */
#include "Python.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

static int is_running_file(const struct stat *running, const char *path)
{
    struct stat found;
    return stat(path, &found) == 0 && found.st_dev == running->st_dev && found.st_ino == running->st_ino;
}

/* What CPython will find for a name without a slash: the first executable of that name in PATH. */
static int found_in_path(const struct stat *running, const char *name)
{
    const char *directories = getenv("PATH");
    char path[PATH_MAX];
    while (directories != NULL && *directories != '\0') {
        size_t size = strcspn(directories, ":");
        int used = snprintf(path, sizeof path, "%.*s/%s", (int)size, directories, name);
        if (size > 0 && used > 0 && (size_t)used < sizeof path && access(path, X_OK) == 0) {
            return is_running_file(running, path);
        }
        directories += size + (directories[size] == ':');
    }
    return 0;
}

static char *own_path(char *name)
{
    static char path[PATH_MAX];
    struct stat running;
    if (stat("/proc/self/exe", &running) != 0) {
        return name;
    }
    if (name != NULL && *name != '\0' &&
        (strchr(name, '/') != NULL ? is_running_file(&running, name) : found_in_path(&running, name))) {
        return name;
    }
    /* AT_EXECFN is the script for a "#!" line, hence the look. */
    char *executed = (char *)getauxval(AT_EXECFN);
    if (executed != NULL && strchr(executed, '/') != NULL && is_running_file(&running, executed)) {
        return executed;
    }
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    if (size <= 0) {
        return name;
    }
    path[size] = '\0';
    return path;
}

int
main(int argc, char **argv)
{
    if (argc > 0) {
        argv[0] = own_path(argv[0]);
    }
    return Py_BytesMain(argc, argv);
}
