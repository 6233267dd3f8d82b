package containerd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/containerd/api/services/images/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// A Record is what containerd keeps of one name of an image.
type Record struct {
	Name string
	// Created is when the node first had the name, Updated when it came to lead
	// to these bytes: the last pull that changed something.
	Created, Updated time.Time
}

// Images returns the records of the names that lead to a digest, an index's or a
// manifest's, the newest first.
func (s *Source) Images(ctx context.Context, digest string) ([]Record, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("unix://"+s.cfg.Address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, fmt.Errorf("containerd %s: %w", s.cfg.Address, err)
	}
	defer conn.Close()
	ctx = metadata.AppendToOutgoingContext(ctx, "containerd-namespace", s.cfg.Namespace)
	answer, err := images.NewImagesClient(conn).List(ctx, &images.ListImagesRequest{Filters: []string{"target.digest==" + digest}})
	if err != nil {
		return nil, fmt.Errorf("containerd %s: list images: %w", s.cfg.Address, plain(err))
	}
	var all []Record
	for _, i := range answer.GetImages() {
		all = append(all, Record{Name: i.GetName(), Created: i.GetCreatedAt().AsTime().UTC(), Updated: i.GetUpdatedAt().AsTime().UTC()})
	}
	slices.SortFunc(all, func(a, b Record) int {
		return cmp.Or(b.Updated.Compare(a.Updated), cmp.Compare(a.Name, b.Name))
	})
	return all, nil
}
