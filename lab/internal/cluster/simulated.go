package cluster

import (
	"context"
	"errors"
)

func (d Driver) simulatedNode(ctx context.Context, s *State) (Part, error) {
	return Part{}, errors.New("not yet")
}
