package plan

// Container plans a container. The error is an *fault.InvalidError that names the
// field; a device that cannot be looked at is the finder's error.
func Container(in *ContainerInput) (*ContainerPlan, error) {
	return planContainer(in)
}
