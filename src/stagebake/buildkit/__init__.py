"""How does Docker run a build, and what does BuildKit say about it?"""
