package pushes

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/tagwarden/tagwarden/image"
)

// ecr asks Amazon's registry:
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html.
type ecr struct{ *api }

const (
	ecrNeeds       = "an AWS access key that is allowed ecr:DescribeImages"
	ecrPolicyNeeds = "an AWS access key that is allowed ecr:GetRepositoryPolicy"
)

// ecrHost is the account and the region that a host of Amazon's registry names.
type ecrHost struct{ account, fips, region, domain string }

var ecrHosts = regexp.MustCompile(`^([0-9]{12})\.dkr\.ecr(-fips)?\.([a-z0-9-]{1,40})\.(amazonaws\.com(?:\.cn)?)$`)

func parseECR(host string) (ecrHost, bool) {
	m := ecrHosts.FindStringSubmatch(host)
	if m == nil {
		return ecrHost{}, false
	}
	return ecrHost{account: m[1], fips: m[2], region: m[3], domain: m[4]}, true
}

// api is the address of the region's API.
func (h ecrHost) api() string {
	if h.fips != "" {
		return "https://ecr-fips." + h.region + "." + h.domain
	}
	return "https://api.ecr." + h.region + "." + h.domain
}

// Pushes gives the image that the tag is on. Amazon has the image's time and
// not the tag's, and does not say who pushed: that is in CloudTrail (PutImage).
func (e *ecr) Pushes(ctx context.Context, ref image.Reference) ([]Push, error) {
	ctx, cancel, q, err := e.ask(ctx, "pushes of", ref, ecrNeeds)
	defer cancel()
	if err != nil {
		return nil, err
	}
	tag, id := tagOf(ref), map[string]string{}
	if tag != "" {
		id["imageTag"] = tag
	} else {
		id["imageDigest"] = string(ref.Digest())
	}
	var answer struct {
		ImageDetails []struct {
			ImageDigest   string   `json:"imageDigest"`
			ImageTags     []string `json:"imageTags"`
			ImagePushedAt float64  `json:"imagePushedAt"`
		} `json:"imageDetails"`
	}
	if err := e.call(ctx, q, "DescribeImages", map[string]any{"imageIds": []any{id}}, &answer); err != nil {
		return nil, err
	}
	for _, d := range answer.ImageDetails {
		if tag != "" && slices.Contains(d.ImageTags, tag) || tag == "" && d.ImageDigest == string(ref.Digest()) {
			return []Push{{
				Repository: ref.Name(), Tag: tag, Digest: digestOf(d.ImageDigest), At: unix(d.ImagePushedAt),
				OfDigest: tag != "", Source: "ECR API", Trust: Recorded, Confirmed: true,
			}}, nil
		}
	}
	return nil, q.fail(ErrNotFound, "none of its images has this tag")
}

// call sends one request in Amazon's JSON protocol 1.1.
func (e *ecr) call(ctx context.Context, q *question, action string, input map[string]any, into any) error {
	host, _ := parseECR(e.registry)
	input["registryId"], input["repositoryName"] = host.account, q.repository
	body, err := json.Marshal(input)
	if err != nil {
		return q.fail(ErrAnswer, "its request cannot be written")
	}
	key := e.key(q.cred)
	if key.AccessKeyID == "" {
		return q.fail(ErrUnauthorized, "no access key; the password of docker login is none")
	}
	q.header.Set("Content-Type", "application/x-amz-json-1.1")
	q.header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921."+action)
	q.signer = func(ctx context.Context, req *http.Request) error {
		sum := sha256.Sum256(body)
		if v4.NewSigner().SignHTTP(ctx, key, req, hex.EncodeToString(sum[:]), "ecr", host.region, time.Now()) != nil {
			return q.fail(ErrUnauthorized, "its request cannot be signed")
		}
		return nil
	}
	_, err = q.do(ctx, http.MethodPost, "/", nil, body, into)
	return err
}

// key is the access key: that of the credential, or of the environment. The
// user AWS has a password for pulling, which is no access key.
func (e *ecr) key(c Credential) aws.Credentials {
	if c.Username != "" && c.Username != "AWS" {
		return aws.Credentials{AccessKeyID: c.Username, SecretAccessKey: c.Password, SessionToken: c.Token}
	}
	if env := e.config.Env; env != nil {
		return aws.Credentials{
			AccessKeyID: env("AWS_ACCESS_KEY_ID"), SecretAccessKey: env("AWS_SECRET_ACCESS_KEY"), SessionToken: env("AWS_SESSION_TOKEN"),
		}
	}
	return aws.Credentials{}
}

// awsReasons are the errors of Amazon that do not mean what their status, which
// is always 400, says.
var awsReasons = map[string]error{
	"ImageNotFoundException":            ErrNotFound,
	"RepositoryNotFoundException":       ErrNotFound,
	"RepositoryPolicyNotFoundException": errNoPolicy,
	"AccessDeniedException":             ErrUnauthorized,
	"UnrecognizedClientException":       ErrUnauthorized,
	"InvalidSignatureException":         ErrUnauthorized,
	"IncompleteSignatureException":      ErrUnauthorized,
	"MissingAuthenticationToken":        ErrUnauthorized,
	"ExpiredTokenException":             ErrUnauthorized,
	"ThrottlingException":               ErrRateLimited,
	"TooManyRequestsException":          ErrRateLimited,
	"ServerException":                   ErrUnreachable,
}

var errNoPolicy = errors.New("no policy")

// awsReason reads an error of Amazon: {"__type":"namespace#ThrottlingException"}.
func awsReason(body []byte) (name string, reason error) {
	var answer struct {
		Type string `json:"__type"`
	}
	// A body that is none leaves the type empty, which is no reason.
	_ = json.Unmarshal(body, &answer)
	name = answer.Type[strings.LastIndexByte(answer.Type, '#')+1:]
	return name, awsReasons[name]
}

// Writers gives whom the policy of the repository lets push. The policies of
// the account's own users and roles (IAM) can let more, and those are not
// asked.
func (e *ecr) Writers(ctx context.Context, ref image.Reference) ([]Writer, error) {
	ctx, cancel, q, err := e.ask(ctx, "writers of", ref, ecrPolicyNeeds)
	defer cancel()
	if err != nil {
		return nil, err
	}
	var answer struct {
		PolicyText string `json:"policyText"`
	}
	err = e.call(ctx, q, "GetRepositoryPolicy", map[string]any{}, &answer)
	if errors.Is(err, errNoPolicy) {
		return nil, e.unsupported("writers of "+ref.Name(), "the repository has no policy, so IAM decides")
	}
	if err != nil {
		return nil, err
	}
	var policy struct {
		Statement oneOrMore[statement] `json:"Statement"`
	}
	if json.Unmarshal([]byte(answer.PolicyText), &policy) != nil {
		return nil, q.fail(ErrAnswer, "its policy is no JSON of the documented form")
	}
	var writers []Writer
	for _, s := range policy.Statement {
		if role := s.letsPush(); role != "" {
			for _, name := range s.principals() {
				writers = append(writers, Writer{Name: name, Role: role, Source: "ECR API"})
			}
		}
	}
	return byName(writers), nil
}

// statement is one of a policy:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html.
type statement struct {
	Effect       string            `json:"Effect"`
	Principal    json.RawMessage   `json:"Principal"`
	NotPrincipal json.RawMessage   `json:"NotPrincipal"`
	Action       oneOrMore[string] `json:"Action"`
	NotAction    oneOrMore[string] `json:"NotAction"`
	Condition    json.RawMessage   `json:"Condition"`
}

// letsPush is the role of whom the statement lets push, or "".
func (s statement) letsPush() string {
	push := func(pattern string) bool {
		ok, err := path.Match(strings.ToLower(pattern), "ecr:putimage")
		return ok && err == nil
	}
	allowed := slices.ContainsFunc(s.Action, push) || len(s.NotAction) > 0 && !slices.ContainsFunc(s.NotAction, push)
	switch {
	case s.Effect != "Allow" || !allowed:
		return ""
	case len(s.Condition) > 0 && !bytes.Equal(s.Condition, []byte("{}")):
		return "ecr:PutImage, on a condition"
	}
	return "ecr:PutImage"
}

// principals are those of the statement: "*", or some for each type.
func (s statement) principals() []string {
	if len(s.NotPrincipal) > 0 {
		return []string{"everybody but those of a NotPrincipal"}
	}
	var all string
	if json.Unmarshal(s.Principal, &all) == nil {
		return []string{all}
	}
	var types map[string]oneOrMore[string]
	if json.Unmarshal(s.Principal, &types) != nil {
		return nil
	}
	var names []string
	for _, n := range types {
		names = append(names, n...)
	}
	return names
}

// oneOrMore reads what can be a value or a list of them.
type oneOrMore[T any] []T

// UnmarshalJSON reads either.
func (o *oneOrMore[T]) UnmarshalJSON(data []byte) error {
	var list []T
	if json.Unmarshal(data, &list) == nil {
		*o = list
		return nil
	}
	var one T
	if err := json.Unmarshal(data, &one); err != nil {
		return err
	}
	*o = []T{one}
	return nil
}
