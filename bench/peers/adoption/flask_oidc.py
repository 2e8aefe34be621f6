import os
from urllib.parse import urlencode

from flask import Flask, redirect, session, url_for
from flask_oidc import OpenIDConnect

app = Flask(__name__)
app.config.update(
    SECRET_KEY=os.environ["SECRET_KEY"],
    OIDC_CLIENT_SECRETS="client_secrets.json",
    OIDC_SCOPES="openid",
    OIDC_OVERWRITE_REDIRECT_URI=os.environ["BASE_URL"] + "/authorize",
)
oidc = OpenIDConnect(app)


@app.get("/")
def home():
    return session["oidc_auth_profile"]["sub"] if oidc.user_loggedin else "nobody"


@app.get("/matters")
@oidc.require_login
def matters():
    return session["oidc_auth_profile"]["sub"]


@app.post("/out")
def out():
    query = {
        "id_token_hint": session["oidc_auth_token"]["id_token"],
        "post_logout_redirect_uri": url_for("home", _external=True),
    }
    endpoint = oidc.oauth.oidc.load_server_metadata()["end_session_endpoint"]
    session.clear()
    return redirect(f"{endpoint}?{urlencode(query)}")
