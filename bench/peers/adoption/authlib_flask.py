import os
from urllib.parse import urlencode

from authlib.integrations.flask_client import OAuth
from flask import Flask, redirect, request, session, url_for

app = Flask(__name__)
app.secret_key = os.environ["SECRET_KEY"]
oauth = OAuth(app)
oauth.register(
    "hall",
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    server_metadata_url=os.environ["ISSUER"] + "/.well-known/openid-configuration",
    client_kwargs={"scope": "openid", "code_challenge_method": "S256"},
)


@app.get("/login")
def login():
    session["next"] = request.args.get("next", "/")
    return oauth.hall.authorize_redirect(url_for("callback", _external=True))


@app.get("/callback")
def callback():
    token = oauth.hall.authorize_access_token()
    session["sub"], session["id_token"] = token["userinfo"]["sub"], token["id_token"]
    return redirect(session.pop("next", "/"))


@app.post("/logout")
def logout():
    hint = session.get("id_token", "")
    session.clear()
    query = {"id_token_hint": hint, "post_logout_redirect_uri": url_for("home", _external=True)}
    endpoint = oauth.hall.load_server_metadata()["end_session_endpoint"]
    return redirect(f"{endpoint}?{urlencode(query)}")


@app.get("/")
def home():
    return session.get("sub", "nobody")


@app.get("/matters")
def matters():
    if "sub" not in session:
        return redirect(url_for("login", next=request.path))
    return session["sub"]
