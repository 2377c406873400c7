package txnsim

import "github.com/chord-plugin/chord-plugin/internal/kernel"

// process is what dies together: an operation of a client and all that it runs
// in the background.
type process struct {
	*kernel.Process
	// onDeath runs when the process dies.
	onDeath func()
}

func (w *world) process(onDeath func()) *process {
	return &process{w.Process(), onDeath}
}

// kill ends a process where it waits. What it has sent is on its way.
func (p *process) kill() {
	if p.Kill() {
		p.onDeath()
	}
}
