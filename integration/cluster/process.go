package cluster

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/chord-plugin/chord-plugin/integration/process"
)

// stopPatience is how long an agent may take to end after SIGTERM.
const stopPatience = 10 * time.Second

// run is one run of an agent.
type run struct {
	*process.Process
	asked bool // we told it to end
}

func startRun(path string, args, env []string, out io.Writer) (*run, error) {
	p, err := process.Start(process.Config{Path: path, Args: args, Env: env, Out: out})
	if err != nil {
		return nil, err
	}
	return &run{Process: p}, nil
}

// kill ends the process with SIGKILL and waits for it.
func (r *run) kill() error {
	r.asked = true
	if err := r.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	return r.Await(process.KillPatience)
}

// stop ends the process with SIGTERM and waits for it. It fails when the process
// does not end in time or ends with another status than 0.
func (r *run) stop() error {
	r.asked = true
	if err := r.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := r.Await(stopPatience); err != nil {
		return errors.Join(err, r.kill())
	}
	if err := r.Err(); err != nil {
		return fmt.Errorf("process %d did not stop cleanly: %w", r.PID(), err)
	}
	return nil
}
