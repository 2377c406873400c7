package cluster

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strings"
)

// canTellProcesses reports why the sender of a connection cannot be found out.
func canTellProcesses() error {
	if _, err := os.Stat("/proc/self/net/tcp"); err != nil {
		return fmt.Errorf("the network needs /proc: %w", err)
	}
	return nil
}

// dialler returns the member whose process has the other end of a loopback
// connection, nil for somebody else.
func (n *Network) dialler(c net.Conn) *Member {
	inode := socketInode(c.RemoteAddr().(*net.TCPAddr), c.LocalAddr().(*net.TCPAddr))
	if inode == "" {
		return nil // closed already
	}
	for _, m := range n.members {
		if pid := m.pid.Load(); pid != 0 && hasSocket(int(pid), inode) {
			return m
		}
	}
	return nil
}

// socketInode finds the socket of a connection in the kernel's table, whose lines
// read "sl local remote st tx:rx tr:when retrnsmt uid timeout inode ...".
func socketInode(local, remote *net.TCPAddr) string {
	table, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		return ""
	}
	l, r := procAddr(local), procAddr(remote)
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 9 && f[1] == l && f[2] == r {
			return f[9]
		}
	}
	return ""
}

// procAddr writes an IPv4 address as the kernel does: the bytes of a little-endian
// number in hex, and the port.
func procAddr(a *net.TCPAddr) string {
	ip := a.IP.To4()
	if ip == nil {
		return ""
	}
	b := []byte{ip[3], ip[2], ip[1], ip[0]}
	return fmt.Sprintf("%s:%04X", strings.ToUpper(hex.EncodeToString(b)), a.Port)
}

func hasSocket(pid int, inode string) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	files, err := os.ReadDir(dir)
	if err != nil {
		return false // it has ended
	}
	for _, f := range files {
		if to, err := os.Readlink(dir + "/" + f.Name()); err == nil && to == "socket:["+inode+"]" {
			return true
		}
	}
	return false
}
