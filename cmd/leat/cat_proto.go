package main

import (
	"encoding/json"
	"errors"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// messagePrinter prints messages in Protobuf's JSON. What a google.protobuf.Any holds is
// looked for in the writer's file, in those that it imports, and among Google's own
// types.
type messagePrinter struct {
	last  protoreflect.FileDescriptor
	types anyTypes
}

func (p *messagePrinter) print(m proto.Message) (json.RawMessage, error) {
	file := m.ProtoReflect().Descriptor().ParentFile()
	if file != p.last {
		files := new(protoregistry.Files)
		gather(files, file)
		p.last, p.types = file, anyTypes{dynamicpb.NewTypes(files)}
	}
	text, err := protojson.MarshalOptions{Resolver: p.types}.Marshal(m)
	if err != nil {
		return nil, errors.New("it cannot be shown as JSON: " + err.Error())
	}
	return text, nil
}

// gather registers a file and what it imports. What conflicts with an earlier one is not
// registered: its types are not found then.
func gather(files *protoregistry.Files, file protoreflect.FileDescriptor) {
	if _, err := files.FindFileByPath(file.Path()); err == nil {
		return
	}
	_ = files.RegisterFile(file)
	for i := range file.Imports().Len() {
		gather(files, file.Imports().Get(i).FileDescriptor)
	}
}

// anyTypes resolves by a schema first, and then by what is compiled into this program.
type anyTypes struct{ *dynamicpb.Types }

// FindMessageByName implements protoregistry.MessageTypeResolver.
func (t anyTypes) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	if found, err := t.Types.FindMessageByName(name); err == nil {
		return found, nil
	}
	return protoregistry.GlobalTypes.FindMessageByName(name)
}

// FindMessageByURL implements protoregistry.MessageTypeResolver.
func (t anyTypes) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	if found, err := t.Types.FindMessageByURL(url); err == nil {
		return found, nil
	}
	return protoregistry.GlobalTypes.FindMessageByURL(url)
}
