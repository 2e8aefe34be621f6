"""An API with FastAPI. Run: CROSSHALL_RP_SETTINGS=window.toml uvicorn --factory examples.fastapi_api:create_app"""

from typing import Annotated

from fastapi import Depends, FastAPI

from relying_party_sdk import RelyingParty, Settings
from relying_party_sdk.adapters.starlette import CrosshallRP
from relying_party_sdk.bearer import AccessToken


def create_app(party: RelyingParty | None = None) -> FastAPI:
    """The application; settings from the environment."""
    app = FastAPI()
    rp = CrosshallRP(app, party=party or RelyingParty(Settings.from_environment()))

    @app.get("/api/cases")
    async def cases(token: Annotated[AccessToken, Depends(rp.needs_token(level=2))]) -> dict[str, str]:
        return {"asked by": token.client, "kind": token.person.kind if token.person else "service"}

    return app
