package cluster

import (
	"fmt"
	"syscall"
	"unsafe"
)

// FillDisk makes every write of the member's process that would lengthen a file
// beyond so many bytes fail, from now until the process ends. It lowers the
// process's limit on the size of files, which needs no mount and no rights; the
// error is EFBIG where a full disk gives ENOSPC.
func (m *Member) FillDisk(size uint64) error {
	if !m.Running() {
		return fmt.Errorf("fill the disk of member %q: it does not run", m.Name)
	}
	m.out.note("the disk is full: files may have %d bytes", size)
	limit := syscall.Rlimit{Cur: size, Max: size}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(m.PID()), syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("limit the files of member %q: %w", m.Name, errno)
	}
	return nil
}
