package hostile

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Method is an RPC of the CRI.
type Method struct {
	Name     string // "RunPodSandbox"
	Path     string // "/runtime.v1.RuntimeService/RunPodSandbox"
	Streams  bool   // it answers with a stream
	request  protoreflect.MessageType
	response protoreflect.MessageType
}

// Request returns a new, empty request.
func (m *Method) Request() proto.Message { return m.request.New().Interface() }

// Response returns a new, empty response.
func (m *Method) Response() proto.Message { return m.response.New().Interface() }

// Fields returns all fields of its request.
func (m *Method) Fields() []Field { return Fields(m.request.Descriptor()) }

// Methods returns every RPC of both services.
func Methods() []*Method {
	var out []*Method
	services := runtimeapi.File_staging_src_k8s_io_cri_api_pkg_apis_runtime_v1_api_proto.Services()
	for i := range services.Len() {
		s := services.Get(i)
		for j := range s.Methods().Len() {
			d := s.Methods().Get(j)
			out = append(out, &Method{
				Name: string(d.Name()), Path: "/" + string(s.FullName()) + "/" + string(d.Name()), Streams: d.IsStreamingServer(),
				request: messageType(d.Input()), response: messageType(d.Output()),
			})
		}
	}
	return out
}

// messageType finds the generated type, so that a request is what handlers expect.
func messageType(d protoreflect.MessageDescriptor) protoreflect.MessageType {
	t, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		panic(err) // the package that has the services has their messages
	}
	return t
}
