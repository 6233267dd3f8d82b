package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A Kind is a kind of objects that have containers.
type Kind struct{ APIVersion, Name, resource string }

// kinds are listed one after the other: controllers before pods, and of
// controllers those before that control others.
var kinds = []Kind{
	{"v1", "ReplicationController", "api/v1/%s/replicationcontrollers"},
	{"apps/v1", "Deployment", "apis/apps/v1/%s/deployments"},
	{"apps/v1", "StatefulSet", "apis/apps/v1/%s/statefulsets"},
	{"apps/v1", "DaemonSet", "apis/apps/v1/%s/daemonsets"},
	{"batch/v1", "CronJob", "apis/batch/v1/%s/cronjobs"},
	{"apps/v1", "ReplicaSet", "apis/apps/v1/%s/replicasets"},
	{"batch/v1", "Job", "apis/batch/v1/%s/jobs"},
	{"v1", "Pod", "api/v1/%s/pods"},
}

// Pages lists the objects that have containers, controllers before pods, and
// calls each with the pages as JSON. What may not be listed is told to gap: a
// kind in a namespace. Where a kind may not be listed in all namespaces at once,
// each is tried.
func (s *Source) Pages(ctx context.Context, selector string, each func(k Kind, page []byte) error, gap func(what string, reason error)) error {
	if err := s.reachable(ctx); err != nil {
		return err
	}
	for _, k := range kinds {
		err := s.pages(ctx, k, s.namespace, selector, each)
		switch {
		case err == nil:
		case !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err):
			return fmt.Errorf("cluster %s: list %ss: %w", s.host, k.Name, err)
		case s.namespace != "":
			gap(k.Name+" in "+s.namespace, err)
		default:
			if err := s.everyNamespace(ctx, k, selector, each, gap, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// reachable tells a cluster that cannot be asked from one that answers no.
func (s *Source) reachable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if _, err := s.client.CoreV1().RESTClient().Get().AbsPath("version").DoRaw(ctx); err != nil && !apierrors.IsForbidden(err) {
		return fmt.Errorf("cluster %s: %w", s.host, err)
	}
	return nil
}

func (s *Source) everyNamespace(ctx context.Context, k Kind, selector string, each func(Kind, []byte) error, gap func(string, error), refused error) error {
	opt := metav1.ListOptions{Limit: listPage}
	for {
		list, err := s.client.CoreV1().Namespaces().List(ctx, opt)
		if apierrors.IsForbidden(err) {
			gap(k.Name+" in all namespaces", fmt.Errorf("%w; name one namespace with -n", refused))
			return nil
		}
		if err != nil {
			return fmt.Errorf("cluster %s: list namespaces: %w", s.host, err)
		}
		for i := range list.Items {
			name := list.Items[i].Name
			err := s.pages(ctx, k, name, selector, each)
			switch {
			case err == nil:
			case apierrors.IsForbidden(err), apierrors.IsNotFound(err):
				gap(k.Name+" in "+name, err)
			default:
				return fmt.Errorf("cluster %s: list %ss in %s: %w", s.host, k.Name, name, err)
			}
		}
		if opt.Continue = list.Continue; opt.Continue == "" {
			return nil
		}
	}
}

// pages lists one kind in a namespace, "" for all, as JSON: the objects are
// looked at as what they are, whatever the types of this program know of them.
func (s *Source) pages(ctx context.Context, k Kind, namespace, selector string, each func(Kind, []byte) error) error {
	path := fmt.Sprintf(k.resource, "namespaces/"+namespace)
	if namespace == "" {
		path = strings.Replace(k.resource, "%s/", "", 1)
	}
	for next, again := "", 0; ; {
		req := s.client.CoreV1().RESTClient().Get().AbsPath(path).SetHeader("Accept", "application/json").
			Param("limit", strconv.Itoa(listPage))
		if selector != "" {
			req = req.Param("labelSelector", selector)
		}
		if next != "" {
			req = req.Param("continue", next)
		}
		page, err := req.DoRaw(ctx)
		if apierrors.IsResourceExpired(err) && next != "" && again < maxAgain {
			// The list took longer than the server keeps its state. It goes on
			// with the newest one, in its own way.
			if next = continueToken(err); next != "" {
				again++
				continue
			}
		}
		if err != nil {
			return err
		}
		var list struct {
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
		}
		if err := json.Unmarshal(page, &list); err != nil {
			return fmt.Errorf("its answer is no list: %w", err)
		}
		if err := each(k, page); err != nil {
			return err
		}
		if next = list.Metadata.Continue; next == "" {
			return nil
		}
	}
}

// maxAgain is how often a list that took too long is gone on with.
const maxAgain = 10

// continueToken is how to go on after "410 Gone", which an API server says in
// the metadata of its error.
func continueToken(err error) string {
	if status, ok := err.(apierrors.APIStatus); ok {
		return status.Status().Continue
	}
	return ""
}
