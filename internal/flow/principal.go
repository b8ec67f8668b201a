package flow

// The roles of a principal, each with the rights of the one before it.
const (
	RolePress   = "press"   // starts runs; sees and cancels its own
	RoleOperate = "operate" // sees and cancels every run, redrives, holds
	RoleAdmin   = "admin"   // applies flows, manages keys
)

// Principal is who asks, after authentication. Name is what a run row keeps as
// its owner, for example "dev" or "key:erp-app"; Role is one of the roles above.
type Principal struct {
	Name string `json:"name"`
	Role string `json:"role"`
}

// Sees reports whether the principal may see a run that owner started.
func (p Principal) Sees(owner string) bool {
	return p.Name == owner || p.Role == RoleOperate || p.Role == RoleAdmin
}
