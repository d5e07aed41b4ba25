package serde

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/jhump/protoreflect/v2/protoprint"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/leat-stream/leat/serde/registry"
)

// wellKnown begins the imports that every registry and compiler has.
const wellKnown = "google/protobuf/"

// rootFile is what a schema's file is called here: it has no name of its own.
const rootFile = "the-schema-itself.proto"

// protoText is a file's schema as registries take it.
func protoText(file protoreflect.FileDescriptor, descriptor bool) (string, error) {
	if descriptor {
		raw, err := proto.Marshal(protodesc.ToFileDescriptorProto(file))
		return base64.StdEncoding.EncodeToString(raw), err
	}
	p := protoprint.Printer{OmitComments: protoprint.CommentsAll, Compact: true}
	var b bytes.Buffer
	if err := p.PrintProtoFile(file, &b); err != nil {
		return "", fmt.Errorf("print the schema of %s: %w", file.Path(), err)
	}
	return b.String(), nil
}

// protoReferences are the files that a file imports, each after those it imports itself.
func protoReferences(file protoreflect.FileDescriptor, descriptor bool) (refs []registry.Reference, err error) {
	var add func(protoreflect.FileDescriptor) error
	add = func(f protoreflect.FileDescriptor) error {
		for i := range f.Imports().Len() {
			imported := f.Imports().Get(i).FileDescriptor
			path := imported.Path()
			if strings.HasPrefix(path, wellKnown) || slices.ContainsFunc(refs, func(r registry.Reference) bool { return r.Name == path }) {
				continue
			}
			if err := add(imported); err != nil {
				return err
			}
			text, err := protoText(imported, descriptor)
			if err != nil {
				return err
			}
			refs = append(refs, registry.Reference{Name: path, Subject: path, Text: text})
		}
		return nil
	}
	err = add(file)
	return refs, err
}

// compileProto makes a file of a schema, which may be text or a descriptor.
func compileProto(s registry.Schema) (protoreflect.FileDescriptor, error) {
	if s.Type != registry.Protobuf {
		return nil, fmt.Errorf("it is of type %s, not %s", s.Type, registry.Protobuf)
	}
	sources := map[string]string{rootFile: s.Text}
	for _, r := range s.References {
		sources[r.Name] = r.Text
	}
	c := protocompile.Compiler{
		MaxParallelism: 1,
		Resolver: protocompile.WithStandardImports(protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
			text, ok := sources[path]
			if !ok {
				return protocompile.SearchResult{}, fmt.Errorf("%q is not among the schema's references", path)
			}
			if d := parseDescriptor(text); d != nil {
				d.Name = proto.String(path)
				return protocompile.SearchResult{Proto: d}, nil
			}
			return protocompile.SearchResult{Source: strings.NewReader(text)}, nil
		})),
	}
	files, err := c.Compile(context.Background(), rootFile)
	if err != nil {
		return nil, err
	}
	return files[0], nil
}

// parseDescriptor returns nil if text is no descriptor in base64.
func parseDescriptor(text string) *descriptorpb.FileDescriptorProto {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil
	}
	d := new(descriptorpb.FileDescriptorProto)
	if unmarshalling.Unmarshal(raw, d) != nil || len(d.ProtoReflect().GetUnknown()) > 0 {
		return nil
	}
	return d
}

// placed is a message of a file and where it stands there, as the wire has it.
type placed struct {
	place   []byte
	message protoreflect.MessageDescriptor
}

// messagesOf returns all messages of a file, nested ones included.
func messagesOf(file protoreflect.FileDescriptor) (all []placed) {
	var add func(outer []int, messages protoreflect.MessageDescriptors)
	add = func(outer []int, messages protoreflect.MessageDescriptors) {
		for i := range messages.Len() {
			at := append(slices.Clone(outer), i)
			all = append(all, placed{appendIndexes(nil, at), messages.Get(i)})
			add(at, messages.Get(i).Messages())
		}
	}
	add(nil, file.Messages())
	return all
}

// placesOf returns the messages of a file by where they stand. A place where there is a map's
// entry, which nobody writes, or nothing is that of a message counted without entries.
func placesOf(file protoreflect.FileDescriptor) map[string]protoreflect.MessageDescriptor {
	places := map[string]protoreflect.MessageDescriptor{}
	for _, p := range messagesOf(file) {
		places[string(p.place)] = p.message
	}
	var add func(outer []int, messages protoreflect.MessageDescriptors)
	add = func(outer []int, messages protoreflect.MessageDescriptors) {
		entries := 0
		for i := range messages.Len() {
			m := messages.Get(i)
			if m.IsMapEntry() {
				entries++
				continue
			}
			at := append(slices.Clone(outer), i-entries)
			place := string(appendIndexes(nil, at))
			if there := places[place]; there == nil || there.IsMapEntry() {
				places[place] = m
			}
			add(at, m.Messages())
		}
	}
	add(nil, file.Messages())
	maps.DeleteFunc(places, func(_ string, m protoreflect.MessageDescriptor) bool { return m.IsMapEntry() })
	return places
}

// placeOf returns where the message of that name stands.
func placeOf(file protoreflect.FileDescriptor, name protoreflect.FullName) ([]byte, error) {
	for _, p := range messagesOf(file) {
		if p.message.FullName() == name {
			return p.place, nil
		}
	}
	return nil, fmt.Errorf("it has no message %s", name)
}
