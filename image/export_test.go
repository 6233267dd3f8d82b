package image

// SetRoom makes an Identities hold fewer digests, for tests.
func (s *Identities) SetRoom(n int) { s.room = n }

// Len is how many digests it holds.
func (s *Identities) Len() int { return len(s.entries) }
