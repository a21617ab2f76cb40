/* The scheduler of a process, for os.sched_setscheduler and its kin: what Linux does.
 *
 * musl has these functions and lets them fail with ENOSYS, for POSIX speaks of processes and the system call of threads. Everybody
 * who calls them on Linux means the system call, which is what they get from glibc, see sched(7).
 */
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

int sched_getparam(pid_t process, struct sched_param *parameter)
{
    return syscall(SYS_sched_getparam, process, parameter);
}

int sched_getscheduler(pid_t process)
{
    return syscall(SYS_sched_getscheduler, process);
}

int sched_setparam(pid_t process, const struct sched_param *parameter)
{
    return syscall(SYS_sched_setparam, process, parameter);
}

int sched_setscheduler(pid_t process, int policy, const struct sched_param *parameter)
{
    return syscall(SYS_sched_setscheduler, process, policy, parameter);
}
