package login

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"patchbay/internal/sandbox/ordered"
)

// Request is what the token endpoint sees of a call. Path is below the system's
// prefix; Base is the address of that prefix as the caller wrote it.
type Request struct {
	Method, Path, Base string
	Header             http.Header
	Body               []byte
}

// Serve answers /{tenant}/oauth2/v2.0/token, /{tenant}/oauth2/token, the
// metadata document of a tenant, and Oracle's /oauth2/v1/token.
func (a *Authority) Serve(r Request) Reply {
	parts := strings.Split(strings.Trim(r.Path, "/"), "/")
	switch rest := strings.Join(parts[min(1, len(parts)):], "/"); {
	case strings.Join(parts, "/") == "oauth2/v1/token":
		return a.oracleToken(r)
	case rest == "oauth2/v2.0/token" || rest == "oauth2/token":
		if r.Method != http.MethodPost {
			return a.refuse(http.StatusBadRequest, 900561, "invalid_request", "The endpoint only accepts POST requests. Received a "+r.Method+" request.")
		}
		return a.entraToken(r, parts[0], rest == "oauth2/token")
	case rest == "v2.0/.well-known/openid-configuration" || rest == ".well-known/openid-configuration":
		base := r.Base + "/" + parts[0]
		return ok(ordered.New("token_endpoint", base+"/oauth2/v2.0/token",
			"token_endpoint_auth_methods_supported", []string{"client_secret_post", "client_secret_basic"},
			"issuer", base+"/v2.0", "authorization_endpoint", base+"/oauth2/v2.0/authorize",
			"jwks_uri", base+"/discovery/v2.0/keys", "response_types_supported", []string{"code", "token"},
			"subject_types_supported", []string{"pairwise"}, "id_token_signing_alg_values_supported", []string{"RS256"},
			"tenant_region_scope", "EU", "cloud_instance_name", "microsoftonline.com"))
	case rest == "discovery/v2.0/keys":
		return ok(ordered.New("keys", []any{}))
	default:
		return Reply{Status: http.StatusNotFound, Body: ordered.New("error", "not_found",
			"error_description", "There is no such endpoint.")}
	}
}

func ok(body *ordered.Object) Reply { return Reply{Status: http.StatusOK, Body: body} }

func (a *Authority) entraToken(r Request, tenant string, v1 bool) Reply {
	if mediaType(r.Header) != "application/x-www-form-urlencoded" {
		return a.refuse(http.StatusBadRequest, 900144, "invalid_request", "The request body must contain the following parameter: 'grant_type'.")
	}
	form, err := url.ParseQuery(string(r.Body))
	if err != nil {
		return a.refuse(http.StatusBadRequest, 90008, "invalid_request", "The request body is malformed.")
	}
	id, secret := form.Get("client_id"), form.Get("client_secret")
	if name, password, ok := decodeBasic(strings.TrimPrefix(r.Header.Get("Authorization"), "Basic ")); ok && id == "" {
		id, secret = unescape(name), unescape(password)
	}
	audience := strings.TrimSuffix(form.Get("scope"), "/.default")
	if v1 {
		audience = form.Get("resource")
	}
	switch {
	case form.Get("grant_type") == "":
		return a.refuse(http.StatusBadRequest, 900144, "invalid_request", "The request body must contain the following parameter: 'grant_type'.")
	case form.Get("grant_type") != "client_credentials":
		return a.refuse(http.StatusBadRequest, 70003, "unsupported_grant_type", "The app requested an unsupported grant type '"+form.Get("grant_type")+"'.")
	case id == "":
		return a.refuse(http.StatusBadRequest, 900144, "invalid_request", "The request body must contain the following parameter: 'client_id'.")
	case !v1 && form.Get("scope") != "" && !strings.HasSuffix(form.Get("scope"), "/.default"):
		return a.refuse(http.StatusBadRequest, 1002012, "invalid_scope", "The provided value for scope "+form.Get("scope")+
			" is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).")
	}
	u := find(id)
	if u == nil {
		return a.refuse(http.StatusBadRequest, 700016, "unauthorized_client", "Application with identifier '"+id+"' was not found in the directory '"+tenant+"'.")
	}
	if !secretFits(u, secret) {
		return a.refuse(http.StatusUnauthorized, 7000215, "invalid_client", "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '"+u.ClientID+"'.")
	}
	version, issuer := "2.0", r.Base+"/"+tenant+"/v2.0"
	if v1 {
		version, issuer = "1.0", r.Base+"/"+tenant+"/"
	}
	token, seconds := a.issue(u, tenant, audience, issuer, version)
	if v1 {
		now := a.now().Unix()
		return ok(ordered.New("token_type", "Bearer", "expires_in", decimal(seconds), "ext_expires_in", decimal(seconds),
			"expires_on", decimal(now+seconds), "not_before", decimal(now), "resource", audience, "access_token", token))
	}
	return ok(ordered.New("token_type", "Bearer", "expires_in", seconds, "ext_expires_in", seconds, "access_token", token))
}

// oracleToken is the identity domain's form: the client in Basic, plain errors.
func (a *Authority) oracleToken(r Request) Reply {
	form, err := url.ParseQuery(string(r.Body))
	grantType := form.Get("grant_type")
	if err != nil || r.Method != http.MethodPost || grantType == "" {
		return Reply{Status: http.StatusBadRequest, Body: ordered.New("error", "invalid_request", "error_description", "Missing or malformed grant_type.")}
	}
	if grantType != "client_credentials" && grantType != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		return Reply{Status: http.StatusBadRequest, Body: ordered.New("error", "unsupported_grant_type", "error_description", "Unsupported grant type.")}
	}
	id, secret, _ := decodeBasic(strings.TrimPrefix(r.Header.Get("Authorization"), "Basic "))
	if id == "" {
		id, secret = form.Get("client_id"), form.Get("client_secret")
	}
	u := find(unescape(id))
	if u == nil || !secretFits(u, unescape(secret)) {
		return Reply{Status: http.StatusUnauthorized, Body: ordered.New("error", "invalid_client", "error_description", "Client authentication failed.")}
	}
	token, seconds := a.issue(u, "idcs", form.Get("scope"), r.Base, "1.0")
	return ok(ordered.New("access_token", token, "token_type", "Bearer", "expires_in", seconds))
}

// refuse is an error as Entra ID words it.
func (a *Authority) refuse(status, code int, name, text string) Reply {
	now := a.now().UTC()
	trace := "6f2a9d10-3b1f-4d5e-9a51-" + now.Format("060102150405")
	described := "AADSTS" + decimal(int64(code)) + ": " + text + " Trace ID: " + trace + " Correlation ID: " + trace +
		" Timestamp: " + now.Format("2006-01-02 15:04:05Z")
	return Reply{Status: status, Body: ordered.New("error", name, "error_description", described,
		"error_codes", []any{code}, "timestamp", now.Format("2006-01-02 15:04:05Z"), "trace_id", trace, "correlation_id", trace,
		"error_uri", "https://login.microsoftonline.com/error?code="+decimal(int64(code)))}
}

func mediaType(h http.Header) string {
	name, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(name))
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// unescape undoes the form encoding that OAuth puts inside Basic; text that is
// not encoded stays.
func unescape(s string) string {
	if out, err := url.QueryUnescape(s); err == nil {
		return out
	}
	return s
}
