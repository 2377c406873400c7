package cluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports are taken from below the range from which systems choose the ports of
// outgoing connections. Otherwise such a connection might sit on the port of a
// member that is down, and the member could not come back.
const (
	lowestPort  = 10000
	highestPort = 30000
	portTries   = 200
)

var ports struct {
	mu    sync.Mutex
	given map[int]bool
}

// FreeAddr returns a loopback address that is free for TCP and UDP and that this
// process has not been given before.
func FreeAddr() (string, error) {
	ports.mu.Lock()
	defer ports.mu.Unlock()
	if ports.given == nil {
		ports.given = map[int]bool{}
	}
	var last error
	for range portTries {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		if ports.given[port] {
			continue
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if last = isFree(addr); last == nil {
			ports.given[port] = true
			return addr, nil
		}
	}
	return "", fmt.Errorf("no free port between %d and %d in %d tries: %w", lowestPort, highestPort, portTries, last)
}

func isFree(addr string) error {
	tcp, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = tcp.Close() }() // nothing was done with it
	udp, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	return udp.Close()
}
