package registry

import "context"

type keychainKey struct{}

// WithKeychain makes a context in which [FromContext] finds k: the credentials
// of whoever a question is asked for, such as a pod's pull secrets.
func WithKeychain(ctx context.Context, k Keychain) context.Context {
	return context.WithValue(ctx, keychainKey{}, k)
}

// FromContext is the keychain that [WithKeychain] put into the context of a
// question; it has nothing where none was.
func FromContext(ctx context.Context, registry, repository string) (Credential, error) {
	k, ok := ctx.Value(keychainKey{}).(Keychain)
	if !ok || k == nil {
		return Credential{}, nil
	}
	return k(ctx, registry, repository)
}
