// Package containerd is the source that sees container starts on one node, by
// containerd's own event service, without the Kubernetes API.
package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"time"

	eventtypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/api/services/containers/v1"
	"github.com/containerd/containerd/api/services/events/v1"
	"github.com/containerd/containerd/api/services/images/v1"
	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/api/types/task"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tagwarden/tagwarden/internal/event"
)

const (
	// DefaultAddress is containerd's usual socket.
	DefaultAddress = "/run/containerd/containerd.sock"
	// DefaultNamespace is containerd's namespace for what the kubelet runs.
	DefaultNamespace = "k8s.io"
)

const (
	dialTimeout = 5 * time.Second
	callTimeout = 10 * time.Second
	// settle is when the containers are listed a second time: containerd
	// does not say when a subscription has begun, so a start right after
	// the first list could fall between the two.
	settle   = 2 * time.Second
	minPause = 200 * time.Millisecond
	maxPause = 5 * time.Second
	// maxMessage bounds one answer; a list of some thousand containers has
	// a few megabytes.
	maxMessage = 64 << 20
)

// Config says which containerd.
type Config struct {
	// Address is the path of containerd's socket.
	Address string
	// Namespace is the containerd namespace to watch.
	Namespace string
	// Node is the node's name in events.
	Node string
	// Log hears of broken and mended connections.
	Log *slog.Logger
}

// Source watches one containerd.
type Source struct {
	cfg Config

	events     events.EventsClient
	containers containers.ContainersClient
	images     images.ImagesClient
	tasks      tasks.TasksClient
}

// New makes the source of cfg; it connects when [Source.Watch] is called.
func New(cfg Config) *Source {
	cfg.Address = strings.TrimPrefix(cfg.Address, "unix://")
	return &Source{cfg: cfg}
}

// String names the source for people.
func (s *Source) String() string { return "containerd " + s.cfg.Address }

// Watch emits one start for every container that runs and for every one that
// starts, until ctx ends. Pod sandboxes are left out. It returns an error
// when the socket cannot be used at the start; a connection that breaks later
// is taken up again.
func (s *Source) Watch(ctx context.Context, emit func(event.Event)) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	conn, err := grpc.NewClient("unix://"+s.cfg.Address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return fmt.Errorf("containerd %s: %w", s.cfg.Address, err)
	}
	defer conn.Close()
	s.events = events.NewEventsClient(conn)
	s.containers = containers.NewContainersClient(conn)
	s.images = images.NewImagesClient(conn)
	s.tasks = tasks.NewTasksClient(conn)

	w := &watcher{Source: s, emit: emit, running: map[string]uint32{}}
	ctx = metadata.AppendToOutgoingContext(ctx, "containerd-namespace", s.cfg.Namespace)
	pause, broken := minPause, time.Time{}
	for {
		connected := time.Now()
		err := w.session(ctx, func() {
			if !broken.IsZero() {
				s.cfg.Log.InfoContext(ctx, "containerd answers again", "address", s.cfg.Address,
					"after", time.Since(broken).Round(time.Millisecond))
				broken = time.Time{}
			}
			pause = minPause
			connected = time.Now()
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case !w.listed:
			return fmt.Errorf("containerd %s: %w", s.cfg.Address, plain(err))
		case broken.IsZero():
			broken = connected
			s.cfg.Log.WarnContext(ctx, "containerd does not answer, trying until it does", "address", s.cfg.Address, "error", plain(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
	}
}

// check opens the socket once, because its own errors are clearer than those
// of gRPC.
func (s *Source) check(ctx context.Context) error {
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "unix", s.cfg.Address)
	switch {
	case err == nil:
		return conn.Close()
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("containerd %s: permission denied; run as root or as a user who may open the socket", s.cfg.Address)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("containerd %s: no such socket; is containerd running? name it with --containerd-address", s.cfg.Address)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("containerd %s: nobody listens on the socket; is containerd running?", s.cfg.Address)
	}
	return fmt.Errorf("containerd %s: %w", s.cfg.Address, err)
}

// plain takes gRPC's wording off an error.
func plain(err error) error {
	if st, ok := status.FromError(err); ok && err != nil {
		return errors.New(st.Message())
	}
	return err
}

// watcher is the state of one Watch.
type watcher struct {
	*Source
	emit func(event.Event)
	// running has the process id of every container that was reported: a
	// container that is started again keeps its id and gets a new process.
	running map[string]uint32
	listed  bool
}

// session reads events until the connection breaks. It calls ready when the
// first list has been read.
func (w *watcher) session(ctx context.Context, ready func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// First the subscription, then the list: what starts in between comes
	// twice, and the process id tells.
	stream, err := w.events.Subscribe(ctx, &events.SubscribeRequest{Filters: []string{
		`namespace==` + w.cfg.Namespace + `,topic=="/tasks/start"`,
		`namespace==` + w.cfg.Namespace + `,topic=="/tasks/delete"`,
	}})
	if err != nil {
		return err
	}
	if err := w.list(ctx); err != nil {
		return err
	}
	ready()

	envelopes, failed := make(chan *types.Envelope), make(chan error, 1)
	go func() {
		for {
			e, err := stream.Recv()
			if err != nil {
				failed <- err
				return
			}
			select {
			case envelopes <- e:
			case <-ctx.Done():
				failed <- ctx.Err()
				return
			}
		}
	}()
	again := time.NewTimer(settle)
	defer again.Stop()
	for {
		select {
		case e := <-envelopes:
			w.handle(ctx, e)
		case <-again.C:
			if err := w.list(ctx); err != nil {
				cancel()
				return errors.Join(err, <-failed)
			}
		case err := <-failed:
			return err
		}
	}
}

// list reports the running containers that were not reported before. The
// first list of a watch finds those that ran before it.
func (w *watcher) list(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	tasksNow, err := w.tasks.List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return err
	}
	var snapshot *imageList
	alive := make(map[string]bool, len(tasksNow.GetTasks()))
	for _, t := range tasksNow.GetTasks() {
		// A task's own id names the container, its container_id is empty in
		// some versions.
		id := t.GetID()
		alive[id] = true
		if t.GetStatus() != task.Status_RUNNING && t.GetStatus() != task.Status_PAUSED || w.running[id] == t.GetPid() {
			continue
		}
		if snapshot == nil {
			if snapshot, err = w.imageList(ctx); err != nil {
				return err
			}
		}
		if err := w.report(ctx, id, t.GetPid(), time.Time{}, snapshot); err != nil {
			return err
		}
	}
	for id := range w.running {
		if !alive[id] {
			delete(w.running, id)
		}
	}
	w.listed = true
	return nil
}

// handle takes one event. Events of a container whose record cannot be read
// are reported with what the event itself says.
func (w *watcher) handle(ctx context.Context, e *types.Envelope) {
	switch e.GetTopic() {
	case "/tasks/start":
		var started eventtypes.TaskStart
		if err := e.GetEvent().UnmarshalTo(&started); err != nil {
			// Containerd's type URLs have no host part, which UnmarshalTo
			// accepts; anything else is not the event that was asked for.
			w.cfg.Log.WarnContext(ctx, "event not understood", "topic", e.GetTopic(), "error", err)
			return
		}
		if w.running[started.GetContainerID()] == started.GetPid() {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		snapshot, err := w.imageList(ctx)
		if err == nil {
			err = w.report(ctx, started.GetContainerID(), started.GetPid(), e.GetTimestamp().AsTime(), snapshot)
		}
		if err != nil {
			w.cfg.Log.WarnContext(ctx, "container not readable, reported by its id alone", "container", started.GetContainerID(), "error", plain(err))
			w.running[started.GetContainerID()] = started.GetPid()
			s := w.bare(started.GetContainerID(), e.GetTimestamp().AsTime())
			w.emit(&s)
		}
	case "/tasks/delete":
		var ended eventtypes.TaskDelete
		// Deletion of an exec process carries an id of its own.
		if err := e.GetEvent().UnmarshalTo(&ended); err == nil && (ended.GetID() == "" || ended.GetID() == ended.GetContainerID()) {
			if w.running[ended.GetContainerID()] == ended.GetPid() {
				delete(w.running, ended.GetContainerID())
				w.emit(&event.End{Time: e.GetTimestamp().AsTime().UTC(), Source: "containerd", ContainerID: ended.GetContainerID()})
			}
		}
	}
}

// bare is the start of a container of which only the id is known.
func (w *watcher) bare(id string, started time.Time) event.Start {
	return event.Start{
		Time: started.UTC(), Source: "containerd", Existing: !w.listed,
		Node: w.cfg.Node, ContainerID: id, Runtime: "containerd",
	}
}

// report emits the start of container id, unless it is a pod's sandbox.
// started is zero where only the list is known: then the time of the
// container's creation stands for it.
func (w *watcher) report(ctx context.Context, id string, pid uint32, started time.Time, snapshot *imageList) error {
	got, err := w.containers.Get(ctx, &containers.GetContainerRequest{ID: id})
	switch {
	case status.Code(err) == codes.NotFound && started.IsZero():
		return nil // Gone between the list and now.
	case err != nil:
		return err
	}
	w.running[id] = pid
	c := got.GetContainer()
	if c.GetLabels()[labelKind] == "sandbox" {
		return nil
	}
	if started.IsZero() {
		started = c.GetCreatedAt().AsTime()
	}
	s := w.bare(id, started)
	describe(&s, c, snapshot)
	if sandbox := sandboxOf(c); sandbox != "" {
		if got, err := w.containers.Get(ctx, &containers.GetContainerRequest{ID: sandbox}); err == nil {
			s.PodLabels = podLabels(got.GetContainer().GetLabels())
		}
	}
	w.emit(&s)
	return nil
}
