import os

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "mozilla_django_oidc",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "mozilla_django_oidc.middleware.SessionRefresh",
]
AUTHENTICATION_BACKENDS = ["bench.peers.adoption.mozilla_django.window.Backend"]
ISSUER = os.environ["ISSUER"]
OIDC_RP_CLIENT_ID = os.environ["CLIENT_ID"]
OIDC_RP_CLIENT_SECRET = os.environ["CLIENT_SECRET"]
OIDC_RP_SIGN_ALGO = "ES256"
OIDC_RP_SCOPES = "openid"
OIDC_USE_PKCE = True
OIDC_OP_AUTHORIZATION_ENDPOINT = ISSUER + "/protocol/openid-connect/auth"
OIDC_OP_TOKEN_ENDPOINT = ISSUER + "/protocol/openid-connect/token"
OIDC_OP_USER_ENDPOINT = ISSUER + "/protocol/openid-connect/userinfo"
OIDC_OP_JWKS_ENDPOINT = ISSUER + "/protocol/openid-connect/certs"
OIDC_STORE_ID_TOKEN = True
OIDC_OP_LOGOUT_URL_METHOD = "bench.peers.adoption.mozilla_django.window.logout_url"
LOGIN_URL = "oidc_authentication_init"
