"""The workspace of a flow run, used without Prefect."""

import asyncio

from flows.workspace import Request, open_workspace


def use(project, steps, repo=None):
    """Open a workspace on a project and do `steps(workspace, lines)` in it; gives the lines that were printed."""
    lines = []

    async def main():
        request = Request(repo=str(repo or project.path))
        async with open_workspace(request, lines.append) as workspace:
            await steps(workspace, lines)

    asyncio.run(main())
    return lines


async def reproduce_all(workspace, lines):
    for _, stages in workspace.steps:
        await workspace.reproduce(stages, lines.append)
