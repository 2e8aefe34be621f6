from typing import Annotated

from fastapi import Depends, FastAPI, Request

from relying_party_sdk import Person
from relying_party_sdk.adapters.starlette import CrosshallRP

app = FastAPI()
rp = CrosshallRP(app)


@app.get("/")
async def home(request: Request):
    person = await rp.person(request)
    return person.subject if person else "nobody"


@app.get("/matters")
async def matters(person: Annotated[Person, Depends(rp.needs())]):
    return person.subject
