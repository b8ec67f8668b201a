package login

import (
	"encoding/base64"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func ask(a *Authority, path, form string) Reply {
	return a.Serve(Request{Method: http.MethodPost, Path: path, Base: "http://sandbox/login", Body: []byte(form),
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}})
}

func TestTokensAreGoodUntilTheirEndAndOnlyUnchanged(t *testing.T) {
	t.Parallel()
	a := New(1, 1)
	now := time.Unix(1_770_000_000, 0)
	a.now = func() time.Time { return now }
	token, seconds := a.issue(Users[0], "contoso", "https://org", "iss", "2.0")
	require.EqualValues(t, 3599, seconds)
	u, err := a.Check("Bearer "+token, false)
	require.NoError(t, err)
	require.Equal(t, "patchbay", u.ClientID)

	for _, header := range []string{"", "Bearer ", "Bearer x", "Bearer " + token + "x", "Bearer " + token[:len(token)-2], "Basic " + token,
		"Basic " + base64.StdEncoding.EncodeToString([]byte("patchbay:sandbox-secret"))} {
		_, err := a.Check(header, false)
		require.ErrorIs(t, err, ErrUnauthorized, header)
	}
	_, err = New(2, 1).Check("Bearer "+token, false)
	require.ErrorIs(t, err, ErrUnauthorized, "another sandbox's token")
	now = now.Add(3599 * time.Second)
	_, err = a.Check("Bearer "+token, false)
	require.ErrorIs(t, err, ErrUnauthorized, "a token that was checked before still ends")
}

func TestRefusalsNameTheirReason(t *testing.T) {
	t.Parallel()
	a := New(1, 1)
	const v2, v1 = "/contoso/oauth2/v2.0/token", "/contoso/oauth2/token"
	good := "grant_type=client_credentials&client_id=patchbay&client_secret=sandbox-secret"
	require.Equal(t, http.StatusOK, ask(a, v2, good+"&scope=https%3A%2F%2Forg%2F.default").Status)
	require.Equal(t, http.StatusOK, ask(a, v1, good+"&resource=https%3A%2F%2Forg").Status)
	for form, wants := range map[string]string{
		"":                                       "AADSTS900144",
		good + "&scope=https%3A%2F%2Forg":        "AADSTS1002012",
		"grant_type=password&client_id=patchbay": "AADSTS70003",
		"grant_type=client_credentials&client_id=nobody&scope=x%2F.default":                   "AADSTS700016",
		"grant_type=client_credentials&client_id=patchbay&client_secret=x&scope=x%2F.default": "AADSTS7000215",
	} {
		r := ask(a, v2, form)
		require.GreaterOrEqual(t, r.Status, 400, form)
		require.Contains(t, string(r.Body.Bytes()), wants, form)
	}
}
