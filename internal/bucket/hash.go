package bucket

import "github.com/zeebo/xxh3"

// HashMember returns the hash under which a set counts a member. It is the same
// in every process and on every machine, because sets of different runs merge.
func HashMember(member []byte) uint64 { return xxh3.Hash(member) }
