from flask import Flask

from relying_party_sdk.adapters.flask import CrosshallRP

app = Flask(__name__)
rp = CrosshallRP(app)


@app.get("/")
def home():
    return rp.person.subject if rp.person else "nobody"


@app.get("/matters")
@rp.require()
def matters():
    return rp.person.subject
