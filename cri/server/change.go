package server

import (
	"context"

	"github.com/varve-cri/varve/cri/record"
)

// durability is what a change of state is worth being written down.
type durability int

const (
	// mustSave is for what a restart has to know: without the file there is no
	// change.
	mustSave durability = iota
	// tryToSave is for events on the way down. They take effect also when the
	// file cannot be written: a full disk must not keep a pod from being stopped
	// and removed, and a restart finds out by itself.
	tryToSave
	// onlyShow is for moments that a restart recognises without a file.
	onlyShow
	// saveSoon is onlyShow for what is better on file all the same; the caller
	// does not wait for it.
	saveSoon
)

// changePod applies an event to the pod's record: the file first, then what
// readers see.
func (s *Server) changePod(p *pod, how durability, event func(*record.Pod) error) error {
	p.write.Lock()
	defer p.write.Unlock()
	if p.dead {
		return notFound("pod", p.id)
	}
	r := p.rec.Load().Clone()
	if err := event(r); err != nil {
		return err
	}
	if how != onlyShow {
		if err := s.records.SavePod(r); err != nil {
			if how == mustSave {
				return err
			}
			p.log(context.Background()).Error(err, "State is not on record", "state", r.State)
		}
	}
	p.rec.Store(r)
	return nil
}

// changeContainer is changePod for containers.
func (s *Server) changeContainer(c *container, how durability, event func(*record.Container) error) error {
	c.write.Lock()
	defer c.write.Unlock()
	if c.dead {
		return notFound("container", c.id)
	}
	r := c.rec.Load().Clone()
	if err := event(r); err != nil {
		return err
	}
	switch how {
	case onlyShow:
	case saveSoon:
		go s.saveContainer(c)
	case mustSave, tryToSave:
		if err := s.records.SaveContainer(r); err != nil {
			if how == mustSave {
				return err
			}
			c.log(context.Background()).Error(err, "State is not on record", "state", r.State)
		}
	}
	c.rec.Store(r)
	return nil
}

// saveContainer saves the newest state of a container.
func (s *Server) saveContainer(c *container) {
	c.write.Lock()
	defer c.write.Unlock()
	if c.dead {
		return
	}
	if err := s.records.SaveContainer(c.rec.Load()); err != nil {
		c.log(context.Background()).Error(err, "State is not on record", "state", c.rec.Load().State)
	}
}

// forgetPod deletes the pod's record for good: an exit that is noticed late
// must not write it anew.
func (s *Server) forgetPod(p *pod) error {
	p.write.Lock()
	defer p.write.Unlock()
	err := s.records.DeletePod(p.id)
	p.dead = err == nil
	return err
}

// forgetContainer is forgetPod for containers.
func (s *Server) forgetContainer(c *container) error {
	c.write.Lock()
	defer c.write.Unlock()
	err := s.records.DeleteContainer(c.id)
	c.dead = err == nil
	return err
}
