"""Which calls of the kernel a process may make that parses what strangers say: seccomp(2).

That takes a library: libseccomp's own ``seccomp``, or pyseccomp (extra ``seccomp``).

What is not listed is answered ENOSYS, as a kernel answers that does not have it: a C library of tomorrow
asks for calls that nobody has heard of today, and goes on by an older one.  What would lead out of the
process is EPERM.  Both are written to the kernel's log, with the number.  None kills.
"""
from __future__ import annotations

import errno

from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# octets of descriptors that we have, memory, time, signals of our own, the end
ALLOWED = """
    read readv pread64 write writev pwrite64 lseek ftruncate close close_range dup dup2 dup3 fcntl ioctl
    fstat newfstatat statx
    recvfrom recvmsg sendto sendmsg shutdown socketpair getpeername getsockname getsockopt setsockopt
    epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 poll ppoll select pselect6
    brk mmap munmap mremap mprotect madvise membarrier
    futex futex_waitv sched_yield sched_getaffinity getcpu set_robust_list get_robust_list rseq
    clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigtimedwait rt_sigpending sigaltstack restart_syscall
    getpid getppid gettid getuid geteuid getgid getegid getpgid getpgrp getsid getgroups getcwd uname sysinfo
    getrandom getrlimit getrusage times umask
    exit exit_group
"""
REFUSED = """
    open openat openat2 open_by_handle_at creat name_to_handle_at
    execve execveat fork vfork clone ptrace process_vm_readv process_vm_writev pidfd_open pidfd_getfd
    kill tkill tgkill pidfd_send_signal
    socket connect bind listen accept accept4 io_uring_setup bpf perf_event_open userfaultfd keyctl add_key
    setuid setgid setreuid setregid setresuid setresgid setgroups setfsuid setfsgid capset chroot pivot_root
    mount umount2 unshare setns init_module finit_module kexec_load reboot swapon
    unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat mkdir mkdirat rmdir mknod mknodat
    chmod fchmod fchmodat chown fchown lchown fchownat truncate
"""


def library() -> Any:
    """None where there is none.  It is looked for while files can be read."""
    try:
        import seccomp
    except ImportError:
        try:
            import pyseccomp as seccomp
        except (ImportError, OSError, RuntimeError):   # it is there, and libseccomp is not
            return None
    return seccomp


def confine(seccomp: Any) -> None:
    """For this process, for good.  ``seccomp``: of library()."""
    try:
        rules = seccomp.SyscallFilter(seccomp.ERRNO(errno.ENOSYS))
        rules.set_attr(seccomp.Attr.CTL_LOG, 1)
        for action, names in ((seccomp.ALLOW, ALLOWED), (seccomp.ERRNO(errno.EPERM), REFUSED)):
            for name in names.split():
                try:
                    rules.add_rule(action, name)
                except (OSError, RuntimeError, ValueError):
                    continue           # neither this processor nor this library has it
        rules.load()
    except (OSError, RuntimeError, ValueError) as error:
        log.warn(f"seccomp: {error}; a login process may make any call of the kernel")
