package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxBody is how large a review may be, in bytes. An object has at most 1.5 MiB
// in etcd, and a review of an update has two.
const maxBody = 8 << 20

// maxConcurrent is how many reviews are read at a time, so that bodies take a
// bounded part of the memory. The API server waits for its turn.
const maxConcurrent = 64

// Handler serves /validate and /mutate, /healthz, /readyz and /metrics. ready
// says why reviews cannot be answered yet, and nil when they can.
func (r *Reviewer) Handler(ready func() error, gauges ...Gauge) http.Handler {
	places := make(chan struct{}, maxConcurrent)
	mux := http.NewServeMux()
	hook := func(pattern string, n int, review func(context.Context, *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse) {
		mux.HandleFunc("POST "+pattern, func(w http.ResponseWriter, req *http.Request) {
			began := r.Now()
			defer func() { r.metrics.took[n].observe(r.Now().Sub(began)) }()
			select {
			case places <- struct{}{}:
				defer func() { <-places }()
			case <-req.Context().Done():
				return
			}
			r.serve(w, req, n, review)
		})
	}
	hook("/validate", hookValidate, r.Validate)
	hook("/mutate", hookMutate, r.Mutate)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			text(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		text(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		if err := r.metrics.write(w, gauges); err != nil {
			r.Log.DebugContext(req.Context(), "metrics not written", "error", err)
		}
	})
	return mux
}

func text(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	fmt.Fprintln(w, message)
}

// serve answers one review.
func (r *Reviewer) serve(w http.ResponseWriter, req *http.Request, hook int, review func(context.Context, *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse) {
	if kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		text(w, http.StatusUnsupportedMediaType, "want an AdmissionReview as application/json")
		return
	}
	body, err := read(w, req)
	if err != nil {
		status := http.StatusBadRequest
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			status = http.StatusRequestEntityTooLarge
		}
		text(w, status, err.Error())
		return
	}
	answer, err := r.Review(req.Context(), body, review)
	if err != nil {
		text(w, http.StatusBadRequest, err.Error())
		return
	}
	r.metrics.answered(hook, answer.Response.Allowed)
	data, err := json.Marshal(answer)
	if err != nil {
		text(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	if _, err := w.Write(data); err != nil {
		r.Log.DebugContext(req.Context(), "answer not written", "error", err)
	}
}

// read reads a body, at once where its length is known.
func read(w http.ResponseWriter, req *http.Request) ([]byte, error) {
	in := http.MaxBytesReader(w, req.Body, maxBody)
	if n := req.ContentLength; n >= 0 && n <= maxBody {
		body := make([]byte, n)
		_, err := io.ReadFull(in, body)
		return body, err
	}
	return io.ReadAll(in)
}

// Review answers one AdmissionReview of admission.k8s.io/v1. The answer has the
// UID of the request, whatever the request is about. The error is that there is
// no request, and so nothing to answer.
func (r *Reviewer) Review(ctx context.Context, body []byte, review func(context.Context, *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse) (*admissionv1.AdmissionReview, error) {
	var in admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fmt.Errorf("want an AdmissionReview: %w", err)
	}
	if in.Request == nil || in.Request.UID == "" {
		return nil, errors.New("want an AdmissionReview with a request that has a UID")
	}
	out := &admissionv1.AdmissionReview{TypeMeta: in.TypeMeta}
	if in.APIVersion != admissionv1.SchemeGroupVersion.String() || in.Kind != "AdmissionReview" {
		out.Response = r.unreviewed(ctx, allow(in.Request), fmt.Errorf("the review is a %s of %s, and only an AdmissionReview of %s is understood",
			strconv.Quote(in.Kind), strconv.Quote(in.APIVersion), admissionv1.SchemeGroupVersion))
		return out, nil
	}
	out.TypeMeta = metav1.TypeMeta{APIVersion: in.APIVersion, Kind: in.Kind}
	out.Response = review(ctx, in.Request)
	return out, nil
}
